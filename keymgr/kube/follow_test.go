package kube_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// Nodes and records come, change and go.
func testFollow(t *testing.T, b *bench) {
	for i, name := range []string{"node-a", "node-b", "node-c"} {
		b.makeNode(t, name, i+1)
	}
	b.mustPut(t, "node-b", 2, nil)
	b.mustPut(t, "ghost", 9, nil)
	r := run(t, b.Admin(), kube.Options{Self: "node-a"})
	s := r.await(t, "node-b", func(s keymgr.Snapshot) bool { return names(s) == "node-b" })
	if want := node("node-b", 2); s.Partial || len(s.Problems) > 0 || s.Nodes[0].PublicKey != want.PublicKey || fmt.Sprint(s.Nodes[0].PodCIDRs) != "["+podCIDR(2)+"]" {
		t.Errorf("%+v", s)
	}
	b.mustPut(t, "node-c", 3, nil)
	r.await(t, "node-c", func(s keymgr.Snapshot) bool { return names(s) == "node-b node-c" })
	// A Node goes before its record does: the record is nothing from then on.
	if err := b.CoreV1().Nodes().Delete(t.Context(), "node-b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.await(t, "node-c alone", func(s keymgr.Snapshot) bool { return names(s) == "node-c" })
	// It comes back with other pods, and its record with it.
	b.CreateNode(t, "node-b", []string{"192.168.0.2"}, []string{podCIDR(20)})
	r.await(t, "node-b with other pods", func(s keymgr.Snapshot) bool {
		return names(s) == "node-b node-c" && fmt.Sprint(s.Nodes[0].PodCIDRs) == "["+podCIDR(20)+"]"
	})
}

// What is wrong is refused by the API server or by the source, told of the right
// node, and concerns nobody else.
func testWrongRecords(t *testing.T, b *bench) {
	for i, name := range []string{"node-a", "node-b", "node-c", "node-d", "node-e"} {
		b.makeNode(t, name, i+1)
	}
	b.CreateNode(t, "thief", []string{"192.168.0.66"}, []string{podCIDR(2)}) // node-b's
	r := run(t, b.Admin(), kube.Options{Self: "node-a"})
	b.mustPut(t, "node-b", 2, nil)
	healthy := r.await(t, "node-b", func(s keymgr.Snapshot) bool { return names(s) == "node-b" })
	self := node("node-a", 1)
	history := keymgr.ClaimsOf(healthy.Nodes)

	b.mustPut(t, "ghost", 2, nil)                                                                             // a name that no Node has, and node-b's key
	b.mustPut(t, "node-c", 3, func(r *v1alpha1.WireGuardNode) { r.Spec.NodeIPs[0] = "192.168.0.2" })          // node-b's address
	b.mustPut(t, "node-d", 4, func(r *v1alpha1.WireGuardNode) { r.Spec.Endpoints[0] = "999.9.9.9:1" })        // no address
	b.mustPut(t, "node-e", 5, func(r *v1alpha1.WireGuardNode) { r.Spec.PublicKeys[0].Key = key(2).String() }) // node-b's key
	b.mustPut(t, "thief", 66, nil)
	for name, change := range map[string]func(*v1alpha1.WireGuardNode){
		"a megabyte of addresses": func(r *v1alpha1.WireGuardNode) { r.Spec.NodeIPs = make([]v1alpha1.NodeIP, 100_000) },
		"a megabyte of notes": func(r *v1alpha1.WireGuardNode) {
			r.Annotations = map[string]string{"a": strings.Repeat("x", 1<<20)}
		},
	} {
		if err := b.put(t, "big", 8, change); err == nil {
			t.Errorf("%s: the API server took it", name)
		}
	}
	s := r.await(t, "all that is wrong", func(s keymgr.Snapshot) bool {
		return names(s) == "node-b node-c thief" && fmt.Sprint(s.Unusable) == "[node-d node-e]" && len(s.Problems) == 3
	})
	if !told(s, "node-c", "192.168.0.2 is an address of Node node-b") || !told(s, "node-d", `"999.9.9.9:1" is not an IP address and port`) || !told(s, "node-e", "is the key of node node-b, whose record had it first") {
		t.Errorf("problems: %+v", s.Problems)
	}
	accepted, problems := keymgr.Resolve(self, history, s)
	if len(accepted) != 2 || !accepted[0].Equal(healthy.Nodes[0]) || len(accepted[1].NodeIPs) > 0 {
		t.Errorf("peers: %+v", accepted)
	}
	resolved := keymgr.Snapshot{Problems: problems}
	if len(problems) != 1 || !told(resolved, "thief", "pod CIDR "+podCIDR(2)) {
		t.Errorf("problems of keymgr.Resolve: %+v", problems)
	}
}

// makeMany makes Nodes and records numbers 0 to n-1.
func (b *bench) makeMany(t *testing.T, n int) {
	t.Helper()
	numbers := make(chan int)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for i := range numbers {
				name := fmt.Sprintf("node-%03d", i)
				o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: podCIDR(i), PodCIDRs: []string{podCIDR(i)}}}
				for j := range 40 { // images, as kubelets tell them
					o.Status.Images = append(o.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprintf("registry.example/image-%d@sha256:%064d", j, i)}, SizeBytes: 1 << 20})
				}
				made, err := b.CoreV1().Nodes().Create(t.Context(), o, metav1.CreateOptions{})
				if err != nil {
					t.Error(err)
				}
				made.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: node(name, i).NodeIPs[0].String()}}
				if _, err := b.CoreV1().Nodes().UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
					t.Error(err)
				}
				if err := b.put(t, name, i, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	group.Wait()
}

// Many changes at once are few snapshots: 100 Nodes and their records come one by one,
// as 300 changes and more.
func testBurst(t *testing.T, b *bench) {
	const n = 100
	r := run(t, b.Admin(), kube.Options{Self: "node-000"})
	r.await(t, "the empty cluster", func(s keymgr.Snapshot) bool { return !s.Partial && len(s.Nodes) == 0 })
	before, start := r.delivered(), time.Now()
	b.makeMany(t, n)
	r.await(t, "all nodes", func(s keymgr.Snapshot) bool { return len(s.Nodes) == n })
	// One at most in each 75 ms, however slow this machine is.
	got, took := r.delivered()-before, time.Since(start)
	if most := 1 + int(took/(75*time.Millisecond)); got > most {
		t.Errorf("%d snapshots in %s; %d are the most", got, took, most)
	}
}

// A node that joins a large cluster knows all peers within the 5 s, by the
// client and the limit of requests that the daemon has.
func testFiveHundred(t *testing.T, b *bench) {
	const n = 500
	b.makeMany(t, n)
	before := heap()
	nodes, err := b.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	whole := heap() - before
	runtime.KeepAlive(nodes)
	nodes = nil
	before = heap()
	client, err := kube.Connect(b.Kubeconfig(t, ""), "test")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	r := runBy(t, client, kube.Options{Self: "node-000", CacheDir: filepath.Join(t.TempDir(), "state")})
	s := r.await(t, "all nodes", func(s keymgr.Snapshot) bool { return len(s.Nodes) == n && !s.Partial })
	took := time.Since(start)
	t.Logf("%d nodes known after %s; the source holds %d KiB (two snapshots and connections with it), %d Nodes as they are %d KiB", n, took, (heap()-before)>>10, n, whole>>10)
	if took > joinWithin || len(s.Problems) > 0 {
		t.Errorf("took %s, want %s; problems %v", took, joinWithin, s.Problems)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// With podAddresses: pods, what Pods say counts, and nothing else.
func testPods(t *testing.T, b *bench) {
	b.makeNode(t, "node-a", 1)
	b.makeNode(t, "node-b", 2)
	b.mustPut(t, "node-b", 2, nil)
	b.Create(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: default}\n")
	pods := b.CoreV1().Pods("default")
	pod := func(name, node, ip string, change func(*corev1.Pod)) {
		t.Helper()
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "none"}}}}
		if change != nil {
			change(p)
		}
		p, err := pods.Create(t.Context(), p, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.Status.Phase, p.Status.PodIPs, p.Status.PodIP = corev1.PodRunning, []corev1.PodIP{{IP: ip}}, ip
		if _, err := pods.UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Kubectl(t, "", "delete", "pod", name, "--force", "--ignore-not-found") })
	}
	pod("a-1", "node-a", "10.9.0.1", nil)
	pod("b-1", "node-b", "10.9.0.2", nil)
	pod("b-host", "node-b", "192.168.0.2", func(p *corev1.Pod) { p.Spec.HostNetwork = true })
	r := run(t, b.Admin(), kube.Options{Self: "node-a", PodAddresses: kube.FromPods})
	want := func(local, other string) func(keymgr.Snapshot) bool {
		return func(s keymgr.Snapshot) bool {
			return s.Local != nil && fmt.Sprint(s.Local.PodCIDRs) == local && len(s.Nodes) == 1 && fmt.Sprint(s.Nodes[0].PodCIDRs) == other
		}
	}
	r.await(t, "the pods", want("[10.9.0.1/32]", "[10.9.0.2/32]"))
	pod("b-2", "node-b", "10.9.0.1", nil) // a-1's
	s := r.await(t, "a warning", func(s keymgr.Snapshot) bool { return told(s, "node-b", "pod default/a-1") })
	if !want("[10.9.0.1/32]", "[10.9.0.2/32]")(s) {
		t.Errorf("the younger took the address: %+v", s)
	}
	over, err := json.Marshal(map[string]any{"status": map[string]any{"phase": "Succeeded"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pods.Patch(t.Context(), "a-1", types.MergePatchType, over, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	r.await(t, "the address moved", want("[]", "[10.9.0.1/32 10.9.0.2/32]"))
}
