package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/wgsteer/wgsteer/internal/kubetest"
	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// The configuration of a cluster by kubeadm, as far as it is read.
const kubeadmConfig = `
apiVersion: v1
kind: ConfigMap
metadata: {name: kubeadm-config, namespace: kube-system}
data:
  ClusterConfiguration: |
    apiVersion: kubeadm.k8s.io/v1beta4
    kind: ClusterConfiguration
    networking: {podSubnet: 10.244.0.0/16}
`

// An account as the chart makes it, less the admission policies.
const account = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: wgsteer, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: wgsteer}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [get, list, watch, patch]}
- {apiGroups: [wgsteer.io], resources: [wireguardnodes], verbs: [get, list, watch, create, patch]}
- {apiGroups: [wgsteer.io], resources: [wireguardnodes/status], verbs: [patch]}
- {apiGroups: [""], resources: [configmaps], resourceNames: [kubeadm-config], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: wgsteer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: wgsteer}
subjects: [{kind: ServiceAccount, name: wgsteer, namespace: kube-system}]
`

const startupTaint = "wgsteer.io/agent-not-ready"

// A daemon whose records are in Kubernetes, on one API server: its start takes
// seconds of both cores.
func TestInKubernetes(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s := kubetest.Start(t, kubetest.Options{})
	s.InstallCRD(t)
	s.Create(t, kubeadmConfig+"---"+account)
	s.CreateNode(t, "node-1", []string{"192.0.2.1"}, []string{"10.244.1.0/24"})
	bpffs := privtest.BPFFS(t)
	t.Run("its life", func(t *testing.T) { testLifeInKubernetes(t, s, bpffs) })
	t.Run("kills", func(t *testing.T) { testKillsInKubernetes(t, s, bpffs) })
}

// kubeNode is node-1 with its records in Kubernetes.
func kubeNode(t *testing.T, s *kubetest.Server, bpffs string) *node {
	t.Helper()
	dir := t.TempDir()
	d := newNode(t, dir, bpffs, 1)
	t.Cleanup(func() { command(t, privtest.Tool(t, "ip"), "address", "delete", "192.0.2.1/32", "dev", "lo") })
	source := fmt.Sprintf("source: {kubernetes: {kubeconfig: %s, startupTaint: %s}}\n", s.Kubeconfig(t, s.Token(t, "kube-system", "wgsteer")), startupTaint)
	d.text = strings.Replace(d.text, fmt.Sprintf("source: {directory: %s/nodes}\n", dir), source, 1)
	d.text = strings.NewReplacer("clusterCIDRs: [10.244.0.0/16]\n", "", "podCIDRs: [10.244.1.0/24]\n", "").Replace(d.text)
	d.write(d.text)
	return d
}

// record is a node's record; ok is false where there is none.
func record(t *testing.T, s *kubetest.Server, name string) (r v1alpha1.WireGuardNode, ok bool) {
	t.Helper()
	o, err := records(t, s).Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return r, false
	}
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, true
}

func records(t *testing.T, s *kubetest.Server) dynamic.ResourceInterface {
	t.Helper()
	c, err := dynamic.NewForConfig(s.Admin())
	if err != nil {
		t.Fatal(err)
	}
	return c.Resource(v1alpha1.GroupVersion.WithResource(v1alpha1.Resource))
}

// told is a record's conditions, "Ready=True Guarded=True PeersReachable=True".
func told(r v1alpha1.WireGuardNode) string {
	var words []string
	for _, c := range r.Status.Conditions {
		words = append(words, fmt.Sprintf("%s=%s", c.Type, c.Status))
	}
	return strings.Join(words, " ")
}

const allWell = "Ready=True Guarded=True PeersReachable=True"

func testLifeInKubernetes(t *testing.T, s *kubetest.Server, bpffs string) {
	d := kubeNode(t, s, bpffs)
	nodes := s.Clientset(t).CoreV1().Nodes()
	tainted := func() bool {
		n, err := nodes.Get(t.Context(), "node-1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(fmt.Sprint(n.Spec.Taints), startupTaint)
	}
	taint := func() {
		if out, err := s.Kubectl(t, "", "taint", "node", "node-1", startupTaint+"=:NoExecute"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	taint()

	if code, out, errs := d.do("guard"); code != exitOK || !strings.Contains(errs, "clusterCIDRs=10.244.0.0/16") {
		t.Fatalf("guard: exit %d\n%s%s", code, out, errs)
	}
	if !tainted() {
		t.Error("the guard has taken the taint off: that is the daemon's")
	}
	d.start()
	await(t, "the record tells", func() bool { r, ok := record(t, s, "node-1"); return ok && told(r) == allWell })
	await(t, "the taint is off", func() bool { return !tainted() })
	status := d.status()
	r, _ := record(t, s, "node-1")
	if len(r.Spec.PublicKeys) != 1 || r.Spec.PublicKeys[0].Key != status.PublicKey.String() || len(r.Status.Problems) != 0 || r.Status.TunnelMTU != int32(status.MTU) {
		t.Errorf("record %+v, status %+v", r, status)
	}
	if c := status.Source; c.Kind != sourceKubernetes || c.Failing != "" || c.Cluster == nil || commas(c.Cluster.CIDRs) != "10.244.0.0/16" {
		t.Errorf("status tells of its source %+v", c)
	}
	taint() // the node registers anew
	await(t, "the taint is off again", func() bool { return !tainted() })

	t.Run("check finds all", func(t *testing.T) {
		if got := checkFindings(t, d); got["kubernetes"] != levelOK || got["rights"] != levelOK || got["definition"] != levelOK || got["node"] != levelOK || got["clusterCIDRs"] != levelOK {
			t.Errorf("findings %v", got)
		}
	})
	t.Run("check names rights", func(t *testing.T) {
		if out, err := s.Kubectl(t, "", "delete", "clusterrolebinding", "wgsteer"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		await(t, "a right is missed", func() bool { return checkFindings(t, d)["rights"] == levelFail })
		_, out, _ := d.do("check", "--wait", "100ms")
		for _, want := range []string{"patch wireguardnodes.wgsteer.io/status node-1: needed to tell how this node is", "get configmaps kubeadm-config in namespace kube-system: needed to find clusterCIDRs"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		if out, err := s.Kubectl(t, account, "apply", "-f", "-"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("without API server", func(t *testing.T) {
		s.Kill()
		defer s.Start(t)
		await(t, "the status tells", func() bool { return d.status().Source.Failing != "" })
		if st := d.status(); !st.Ready {
			t.Errorf("not ready: %+v", st.Reasons)
		}
		d.stop()
		d.start()
		if c := d.status().Source.Cluster; c == nil || c.Unconfirmed == "" || commas(c.CIDRs) != "10.244.0.0/16" {
			t.Errorf("the cluster, as remembered: %+v", c)
		}
		if got := d.status().PodCIDRs; commas(got) != "10.244.1.0/24" {
			t.Errorf("pods here: %v", got)
		}
	})
	await(t, "the status tells that it answers", func() bool { return d.status().Source.Failing == "" })
	d.stop()
	if code, out, errs := d.do("teardown"); code != exitOK || strings.Contains(out, "nodes/node-1.yaml") {
		t.Errorf("teardown: exit %d\n%s%s", code, out, errs)
	}
}

// checkFindings are the levels of what check finds.
func checkFindings(t *testing.T, d *node) map[string]level {
	t.Helper()
	_, out, errs := d.do("check", "--wait", "100ms", "-o", "json")
	var c checked
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		t.Fatalf("check: %v\n%s%s", err, out, errs)
	}
	levels := map[string]level{}
	for _, f := range c.Findings {
		levels[f.Name] = f.Level
	}
	return levels
}

// remove is for what may be gone.
func remove(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}
