package kube_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube"
)

// While the API server is gone all stays, for a source that starts then as well;
// afterwards all is caught up with.
func testOutage(t *testing.T, b *bench) {
	b.makeNode(t, "node-a", 1)
	b.makeNode(t, "node-b", 2)
	b.mustPut(t, "node-b", 2, nil)
	dir := filepath.Join(t.TempDir(), "state")
	r := run(t, b.Admin(), kube.Options{Self: "node-a", CacheDir: dir})
	whole := r.await(t, "node-b", func(s keymgr.Snapshot) bool { return names(s) == "node-b" && s.Local != nil })
	file := filepath.Join(dir, "kubernetes.json")
	eventually(t, "the file", func() bool { _, err := os.Stat(file); return err == nil })
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	nowhere := filepath.Join(t.TempDir(), "state")
	look := run(t, b.Admin(), kube.Options{Self: "node-a", CacheDir: nowhere, ReadOnly: true})
	look.await(t, "a look at it", func(s keymgr.Snapshot) bool { return !s.Partial && names(s) == "node-b" })
	look.stop() // a source that keeps something has written it then
	if _, err := os.Stat(nowhere); !os.IsNotExist(err) {
		t.Errorf("a look made %s: %v", nowhere, err)
	}

	b.Kill()
	server := b.Client("").Host
	partial := func(s keymgr.Snapshot) bool {
		return s.Partial && names(s) == "node-b" && len(s.Problems) == 1 && told(s, "", "API server "+server) && s.Local.Equal(whole.Local)
	}
	r.await(t, "the outage", partial)
	if h := r.Health(); h.Server != server || h.Failing == "" || h.Since.IsZero() {
		t.Errorf("health: %+v", h)
	}
	late := run(t, b.Admin(), kube.Options{Self: "node-a", CacheDir: dir})
	late.await(t, "what is on disk", partial)
	if err := late.Publish(t.Context(), node("node-a", 1)); err != nil {
		t.Fatal(err)
	}
	late.stop() // does not wait for the API server
	late = run(t, b.Admin(), kube.Options{Self: "node-a", CacheDir: dir})
	if err := late.Publish(t.Context(), node("node-a", 1)); err != nil {
		t.Fatal(err)
	}

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	if err := os.Chmod(broken, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "kubernetes.json"), text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	look = run(t, b.Admin(), kube.Options{Self: "node-a", CacheDir: broken, ReadOnly: true})
	look.await(t, "a look at the damaged file", func(s keymgr.Snapshot) bool {
		return s.Partial && len(s.Nodes) == 0 && told(s, "node-a", "kubernetes.json is corrupt")
	})
	look.stop()
	if entries, err := os.ReadDir(broken); err != nil || len(entries) != 1 {
		t.Errorf("after a look there are %v, %v", entries, err)
	}
	run(t, b.Admin(), kube.Options{Self: "node-a", CacheDir: broken}).await(t, "the damaged file", func(s keymgr.Snapshot) bool {
		return s.Partial && len(s.Nodes) == 0 && told(s, "node-a", "kubernetes.json.corrupt-1")
	})

	b.Start(t)
	all := func(s keymgr.Snapshot) bool { return !s.Partial && names(s) == "node-a node-b" && len(s.Problems) == 0 }
	r.await(t, "the record published in the outage", all)
	late.await(t, "the same", all)
	if h := r.Health(); h.Failing != "" {
		t.Errorf("health: %+v", h)
	}
}

// What the API server refuses is told with what to do.
func testWithoutRights(t *testing.T, b *bench) {
	b.makeNode(t, "node-a", 1)
	b.Create(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: nobody, namespace: default}\n")
	for token, want := range map[string]string{
		b.Token(t, "default", "nobody"): "rights of the Helm chart",
		"no-token":                      "(401)",
	} {
		r := run(t, b.Client(token), kube.Options{Self: "node-a"})
		r.await(t, want, func(s keymgr.Snapshot) bool { return s.Partial && len(s.Problems) == 1 && told(s, "", want) })
		r.stop()
	}
	config := b.Admin()
	config.CAData = nil
	r := run(t, config, kube.Options{Self: "node-a"})
	r.await(t, "certificate", func(s keymgr.Snapshot) bool { return s.Partial && told(s, "", "certificate") })
}

func testTaint(t *testing.T, b *bench) {
	const ours = "wgsteer.io/agent-not-ready"
	b.makeNode(t, "node-a", 1)
	keys := func() string {
		n, err := b.CoreV1().Nodes().Get(t.Context(), "node-a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, taint := range n.Spec.Taints {
			keys = append(keys, taint.Key)
		}
		return strings.Join(keys, " ")
	}
	n, err := b.CoreV1().Nodes().Get(t.Context(), "node-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Spec.Taints = []corev1.Taint{{Key: ours, Effect: corev1.TaintEffectNoSchedule}, {Key: "other", Effect: corev1.TaintEffectNoSchedule}, {Key: ours, Effect: corev1.TaintEffectNoExecute}}
	if _, err := b.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r := run(t, b.Admin(), kube.Options{Self: "node-a"})
	r.await(t, "the Node", func(s keymgr.Snapshot) bool { return s.Local != nil })
	if removed, err := r.RemoveTaint(t.Context(), ours); !removed || err != nil || keys() != "other" {
		t.Errorf("removed %v, %v; taints %s", removed, err, keys())
	}
	if removed, err := r.RemoveTaint(t.Context(), ours); removed || err != nil || keys() != "other" {
		t.Errorf("again: %v, %v; taints %s", removed, err, keys())
	}
}

func testDiscover(t *testing.T, b *bench) {
	b.makeNode(t, "node-a", 1)
	b.makeNode(t, "node-b", 2)
	client, err := kube.Connect(b.Kubeconfig(t, ""), "wgsteer/test")
	if err != nil {
		t.Fatal(err)
	}
	find := func() keymgr.Cluster {
		t.Helper()
		f, err := kube.Discover(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := find(); f.CIDRs != nil || f.From != "" {
		t.Errorf("a cluster that tells nothing: %+v", f)
	}
	b.Create(t, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: kube-system}
---
apiVersion: v1
kind: Pod
metadata: {name: kube-controller-manager-a, namespace: kube-system, labels: {component: kube-controller-manager}}
spec: {nodeName: node-a, hostNetwork: true, containers: [{name: main, image: none, command: [kube-controller-manager, --cluster-cidr=10.1.0.0/16]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a-worker-says-so, namespace: kube-system, labels: {component: kube-controller-manager}}
spec: {nodeName: node-b, hostNetwork: true, containers: [{name: main, image: none, command: [kube-controller-manager, --cluster-cidr=192.0.2.0/30]}]}
`)
	if f := find(); f.CIDRs != nil {
		t.Errorf("by Pods of workers: %+v", f)
	}
	b.Kubectl(t, "", "label", "node", "node-a", "node-role.kubernetes.io/control-plane=")
	if f := find(); len(f.CIDRs) != 1 || f.CIDRs[0].String() != "10.1.0.0/16" || f.From != "Pod kube-system/kube-controller-manager-a, --cluster-cidr" {
		t.Errorf("by the controller manager: %+v", f)
	}
	b.Create(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: kubeadm-config, namespace: kube-system}
data: {ClusterConfiguration: "networking: {podSubnet: '10.2.0.0/16,fd00:2::/48'}"}
`)
	if f := find(); len(f.CIDRs) != 2 || f.CIDRs[0].String() != "10.2.0.0/16" || f.From != "ConfigMap kube-system/kubeadm-config, networking.podSubnet" {
		t.Errorf("by kubeadm: %+v", f)
	}
	if _, err := kube.Discover(canceled(t), client); err == nil || !strings.HasPrefix(err.Error(), "API server https://") {
		t.Errorf("without an answer: %v", err)
	}
	if client, err = kube.NewClient(b.Client("nobody's")); err != nil {
		t.Fatal(err)
	}
	if _, err := kube.Discover(t.Context(), client); err == nil || !strings.Contains(err.Error(), "does not know who asks (401)") {
		t.Errorf("by a stranger: %v", err)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestSilentServer has one that takes connections and says nothing.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := run(t, &rest.Config{Host: "https://" + l.Addr().String()}, kube.Options{Self: "node-a"})
	r.await(t, "nothing", func(s keymgr.Snapshot) bool {
		return s.Partial && s.Local == nil && told(s, "", "API server https://"+l.Addr().String()+" has not told everything yet")
	})
	r.stop()
	awaitNoneLeft(t)
}
