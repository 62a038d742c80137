package kube

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

func TestPrefixesOfPods(t *testing.T) {
	pod := func(node string, age time.Duration, ips ...string) podFacts {
		return podFacts{node: node, ips: addrs(ips...), created: time.Unix(1e9, 0).Add(-age)}
	}
	ending := pod("a", time.Hour, "10.0.0.1")
	ending.ending = true
	for _, c := range []struct {
		name string
		pods map[string]podFacts
		had  map[netip.Addr]string
		want map[string][]netip.Prefix
		told []string
	}{
		{"two families, sorted", map[string]podFacts{"x/2": pod("a", 0, "10.0.0.2", "fd00::2"), "x/1": pod("a", 0, "10.0.0.1")}, nil,
			map[string][]netip.Prefix{"a": prefixes("10.0.0.1/32", "10.0.0.2/32", "fd00::2/128")}, nil},
		{"the older has it", map[string]podFacts{"x/1": pod("a", time.Minute, "10.0.0.1"), "x/2": pod("b", 0, "10.0.0.1"), "x/3": pod("c", time.Second, "10.0.0.1")}, nil,
			map[string][]netip.Prefix{"a": prefixes("10.0.0.1/32")}, []string{"c: pod address 10.0.0.1", "b: pod address 10.0.0.1"}},
		{"who had it before keeps it", map[string]podFacts{"x/1": pod("a", time.Hour, "10.0.0.1"), "x/2": pod("b", 0, "10.0.0.1")}, map[netip.Addr]string{addrs("10.0.0.1")[0]: "b"},
			map[string][]netip.Prefix{"b": prefixes("10.0.0.1/32")}, []string{"a: pod address 10.0.0.1"}},
		{"one that ends gives it up", map[string]podFacts{"x/1": ending, "x/2": pod("b", 0, "10.0.0.1")}, map[netip.Addr]string{addrs("10.0.0.1")[0]: "a"},
			map[string][]netip.Prefix{"b": prefixes("10.0.0.1/32")}, nil},
		{"the last that ends has it", map[string]podFacts{"x/1": ending}, nil, map[string][]netip.Prefix{"a": prefixes("10.0.0.1/32")}, nil},
		{"on one node it does not matter", map[string]podFacts{"x/1": pod("a", 1, "10.0.0.1"), "x/2": pod("a", 0, "10.0.0.1")}, nil,
			map[string][]netip.Prefix{"a": prefixes("10.0.0.1/32")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, problems := prefixesOfPods(c.pods, c.had)
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("prefixes (-want +got):\n%s", diff)
			}
			if len(problems) != len(c.told) {
				t.Fatalf("problems %v", problems)
			}
			for i, p := range problems {
				if !p.Warning || !strings.HasPrefix(p.Node+": "+p.Message, c.told[i]) {
					t.Errorf("problem %v, want a warning %q", p, c.told[i])
				}
			}
		})
	}
}

// TestPodsBeyondOfOneNode: a kubelet that says of ever more Pods that they are there is in
// nobody's way but its own, and cannot take an address by one that does not count.
func TestPodsBeyondOfOneNode(t *testing.T) {
	pods := map[string]podFacts{
		"z/old":    {node: "b", ips: addrs("10.2.0.1"), created: time.Unix(1, 0)},
		"a/newest": {node: "b", ips: addrs("10.3.0.1", "fd00::1"), created: time.Unix(9e9, 0)},
		"a/young":  {node: "c", ips: addrs("10.3.0.1"), created: time.Unix(9e9+1, 0)},
	}
	for i := range maxPodsOfNode - 1 {
		pods[fmt.Sprintf("m/%d", i)] = podFacts{node: "b", ips: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}, created: time.Unix(2, 0)}
	}
	v := three()
	v.from, v.pods = FromPods, pods
	look := func(what string, b int, c, told string) {
		t.Helper()
		var m memory
		s := m.snapshot(v)
		if len(s.Nodes[1].PodCIDRs) != b || !slices.Contains(s.Nodes[1].PodCIDRs, prefixes("10.2.0.1/32")[0]) || fmt.Sprint(s.Nodes[2].PodCIDRs) != c {
			t.Errorf("%s: %d prefixes of b, %v of c", what, len(s.Nodes[1].PodCIDRs), s.Nodes[2].PodCIDRs)
		}
		if _, all := brief(s); told == "" && len(all) != 0 || told != "" && (len(all) != 1 || !strings.HasPrefix(all[0], told) || s.Problems[0].Warning) {
			t.Errorf("%s: told %q", what, all)
		}
	}
	look("one too many", maxPodsOfNode, "[10.3.0.1/32]", "b: more than 1024 pods")
	delete(pods, "m/7") // the newest counts now, and is older than the other with its address
	delete(pods, "a/young")
	look("as many as count", maxPodsOfNode+1, "[]", "")
}

// An old pod that suddenly has the address of a young one does not get it.
func TestPodAddressesStay(t *testing.T) {
	pod := func(node string, created int64, ip string) podFacts {
		return podFacts{node: node, ips: addrs(ip), created: time.Unix(created, 0)}
	}
	v := three()
	v.from = FromPods
	v.pods = map[string]podFacts{"x/old": pod("b", 1, "10.0.0.1"), "x/young": pod("c", 2, "10.0.0.2")}
	var m memory
	before := m.snapshot(v)
	v.pods["x/old"] = pod("b", 1, "10.0.0.2")
	for range 3 {
		s := m.snapshot(v)
		if nodes, told := brief(s); fmt.Sprint(nodes) != "[a[] b[] c[10.0.0.2/32]]" || len(told) != 1 || !strings.HasPrefix(told[0], "b: pod address 10.0.0.2") {
			t.Errorf("%v; %q", nodes, told)
		}
		m = memory{had: holders(before, v.self)} // a restart
	}
}

func TestWhichPodsCount(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		counts bool
	}{
		"running":    {func(*corev1.Pod) {}, true},
		"ending":     {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, true},
		"host's":     {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, false},
		"over":       {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, false},
		"failed":     {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false},
		"nowhere":    {func(p *corev1.Pod) { p.Spec.NodeName = "" }, false},
		"no address": {func(p *corev1.Pod) { p.Status.PodIPs = nil }, false},
	} {
		p := bigPod(1)
		c.change(p)
		if key, _, ok := factsOfPod(p); ok != c.counts || key != "default/pod-1" {
			t.Errorf("%s: %q %v", name, key, ok)
		}
	}
}

// bigPod is as a cluster has them: with environment, volumes and conditions.
func bigPod(n int) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("pod-%d", n), UID: types.UID(fmt.Sprint(n)), Labels: map[string]string{"app": fmt.Sprint(n % 100)}},
		Spec:       corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", n%500)},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: fmt.Sprintf("10.%d.%d.%d", 64+n>>16, n>>8&255, n&255)}}},
	}
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet", FieldsV1: metav1.NewFieldsV1(strings.Repeat("x", 2000))}}
	c := corev1.Container{Name: "main", Image: "registry.example/app:v1"}
	for i := range 20 {
		c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", i), Value: fmt.Sprintf("value %d of pod %d", i, n)})
	}
	p.Spec.Containers = []corev1.Container{c}
	return p
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestTenThousandPods logs what they cost, and bounds the work of one change by the
// work of a tenth of them: it must not grow with the square.
func TestTenThousandPods(t *testing.T) {
	cost := func(n int) time.Duration {
		start := heap()
		objects := make([]any, n)
		for i := range objects {
			objects[i] = bigPod(i)
		}
		whole := heap() - start
		c := newCluster("node-0", FromPods, func() {})
		if err := c.pods.Replace(objects, ""); err != nil {
			t.Fatal(err)
		}
		runtime.KeepAlive(objects)
		clear(objects)
		kept := heap() - start
		v := view{self: "node-0", from: FromPods, nodes: map[string]nodeFacts{}, records: map[string]recordFacts{}}
		for i := range 500 {
			name := fmt.Sprintf("node-%d", i)
			v.nodes[name] = nodeFacts{addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)})}}
			r := record(1)
			r.spec.NodeIPs = []v1alpha1.NodeIP{v1alpha1.NodeIP(netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}).String())}
			r.spec.Endpoints = nil
			v.records[name] = r
		}
		var m memory
		best := time.Hour
		for range 5 {
			if err := c.pods.Update(bigPod(1)); err != nil {
				t.Fatal(err)
			}
			at := time.Now()
			v.pods = c.pods.all()
			s := m.snapshot(v)
			best = min(best, time.Since(at))
			total := 0
			for _, node := range s.Nodes {
				total += len(node.PodCIDRs)
			}
			if total != n || len(s.Nodes) != 500 || len(s.Problems) != 0 {
				t.Fatalf("%d prefixes of %d pods, %d nodes, problems %v", total, n, len(s.Nodes), s.Problems)
			}
		}
		t.Logf("%d pods: %d KiB as objects, %d KiB as kept; a snapshot after one change takes %s", n, whole>>10, kept>>10, best)
		if kept > whole/2 {
			t.Errorf("%d bytes are kept of %d: the stores hold more than they need", kept, whole)
		}
		return best
	}
	few, many := cost(1_000), cost(10_000)
	if many > 50*few+100*time.Millisecond { // ten times the pods; 100 times would be the square
		t.Errorf("ten times the pods take %s instead of %s", many, few)
	}
}
