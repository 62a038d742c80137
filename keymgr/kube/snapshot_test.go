package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
	"github.com/wgsteer/wgsteer/wgkey"
)

// key is a public key that is n.
func key(n byte) wgkey.PublicKey { return wgkey.PublicKey{n} }

func prefixes(s ...string) (p []netip.Prefix) {
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func addrs(s ...string) (a []netip.Addr) {
	for _, s := range s {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

// node is the n-th Node, and record its record.
func node(n int) nodeFacts {
	return nodeFacts{uid: "uid", podCIDRs: []string{fmt.Sprintf("10.244.%d.0/24", n)}, addresses: addrs(fmt.Sprintf("192.0.2.%d", n))}
}

func record(n int) recordFacts {
	ip := fmt.Sprintf("192.0.2.%d", n)
	return recordFacts{spec: v1alpha1.WireGuardNodeSpec{
		PublicKeys: []v1alpha1.PublicKey{{Key: key(byte(n)).String(), State: v1alpha1.KeyActive}},
		Endpoints:  []v1alpha1.Endpoint{v1alpha1.Endpoint(ip + ":51871")},
		NodeIPs:    []v1alpha1.NodeIP{v1alpha1.NodeIP(ip)},
	}}
}

// three is a view of nodes a, b and c, seen from a.
func three() view {
	return view{self: "a", from: FromNodes,
		nodes:   map[string]nodeFacts{"a": node(1), "b": node(2), "c": node(3)},
		records: map[string]recordFacts{"a": record(1), "b": record(2), "c": record(3)},
	}
}

// brief is what a snapshot says, in short: name=prefixes, and each problem's node.
func brief(s keymgr.Snapshot) (nodes []string, told []string) {
	for _, n := range s.Nodes {
		nodes = append(nodes, fmt.Sprintf("%s%v", n.Name, n.PodCIDRs))
	}
	for _, p := range s.Problems {
		told = append(told, p.Node+": "+p.Message)
	}
	return nodes, told
}

func TestSnapshot(t *testing.T) {
	all := []string{"a[10.244.1.0/24]", "b[10.244.2.0/24]", "c[10.244.3.0/24]"}
	withoutB := []string{all[0], all[2]}
	spec := func(change func(*v1alpha1.WireGuardNodeSpec)) func(*view) {
		return func(v *view) {
			r := v.records["b"]
			change(&r.spec)
			v.records["b"] = r
		}
	}
	for _, c := range []struct {
		name    string
		change  func(*view)
		nodes   []string
		problem string // how the only one begins; "" for none
	}{
		{name: "all is well", nodes: all},
		{name: "a record without Node", nodes: all, change: func(v *view) { v.records["ghost"] = record(9) }},
		{name: "a Node without record", nodes: withoutB, change: func(v *view) { delete(v.records, "b") }},
		{name: "no own Node", nodes: all[1:], problem: `a: the cluster has no Node "a"`, change: func(v *view) { delete(v.nodes, "a") }},
		{name: "no own prefixes", nodes: append([]string{"a[]"}, all[1:]...), problem: "a: spec.podCIDRs: the Node has none",
			change: func(v *view) { v.nodes["a"] = nodeFacts{addresses: addrs("192.0.2.1")} }},
		{name: "a prefix that is none", nodes: []string{all[0], "b[]", all[2]}, problem: `b: spec.podCIDRs: "10.244.2.1/24" has host bits`,
			change: func(v *view) { v.nodes["b"] = nodeFacts{podCIDRs: []string{"10.244.2.1/24"}} }},
		{name: "an endpoint that is no address", nodes: withoutB, problem: `b: spec.endpoints[0]: "999.9.9.9:1" is not an IP address and port`,
			change: spec(func(s *v1alpha1.WireGuardNodeSpec) { s.Endpoints[0] = "999.9.9.9:1" })},
		{name: "an endpoint among pods", nodes: withoutB, problem: "b: spec.endpoints[0]: 10.244.3.3:1 is within 10.244.3.0/24, pods of Node c",
			change: spec(func(s *v1alpha1.WireGuardNodeSpec) { s.Endpoints[0] = "10.244.3.3:1" })},
		{name: "no active key", nodes: withoutB, problem: "b: spec.publicKeys: 0 keys have the state Active",
			change: spec(func(s *v1alpha1.WireGuardNodeSpec) { s.PublicKeys[0].State = v1alpha1.KeyNext })},
		{name: "another Node's address", nodes: all, problem: "b: spec.nodeIPs[0]: 192.0.2.3 is an address of Node c",
			change: spec(func(s *v1alpha1.WireGuardNodeSpec) { s.NodeIPs[0] = "192.0.2.3" })},
		{name: "another Node's pod as address", nodes: all, problem: "b: spec.nodeIPs[0]: 10.244.3.3 is within 10.244.3.0/24, pods of Node c",
			change: spec(func(s *v1alpha1.WireGuardNodeSpec) { s.NodeIPs[0] = "10.244.3.3" })},
		{name: "an address of the world", nodes: all, change: spec(func(s *v1alpha1.WireGuardNodeSpec) { s.NodeIPs = append(s.NodeIPs, "203.0.113.5") })},
		{name: "an address of this node that its Node has not", nodes: all, problem: "a: spec.nodeIPs[1]: 203.0.113.5 is no address of Node a",
			change: func(v *view) {
				r := record(1)
				r.spec.NodeIPs = append(r.spec.NodeIPs, "203.0.113.5")
				v.records["a"] = r
			}},
		{name: "an address of the own bridge", nodes: all, change: spec(func(s *v1alpha1.WireGuardNodeSpec) { s.NodeIPs = append(s.NodeIPs, "10.244.2.1") })},
		{name: "a Node whose pods hold another Node's address", nodes: []string{all[0], all[1], "c[192.0.2.0/30]"}, // keymgr.Resolve decides
			change: func(v *view) {
				v.nodes["c"] = nodeFacts{podCIDRs: []string{"192.0.2.0/30"}, addresses: addrs("192.0.2.3")}
			}},
		{name: "too many addresses", nodes: withoutB, problem: "b: spec.nodeIPs: has 17 entries",
			change: spec(func(s *v1alpha1.WireGuardNodeSpec) { s.NodeIPs = make([]v1alpha1.NodeIP, 17) })},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := three()
			if c.change != nil {
				c.change(&v)
			}
			var m memory
			s := m.snapshot(v)
			nodes, told := brief(s)
			if diff := cmp.Diff(c.nodes, nodes); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
			if c.problem == "" && len(told) > 0 || c.problem != "" && (len(told) != 1 || !strings.HasPrefix(told[0], c.problem)) {
				t.Errorf("problems %q, want one that begins with %q", told, c.problem)
			}
			if _, there := v.nodes["a"]; there != (s.Local != nil) {
				t.Errorf("local: %v", s.Local)
			}
		})
	}
}

// A node's addresses are those that its Node has too: what else its record claims would
// draw everyone's traffic to it, and keep the node that the address is of from joining.
func TestWhatARecordCannotClaim(t *testing.T) {
	v := three()
	delete(v.nodes, "c") // joins later
	delete(v.records, "c")
	thief := record(2)
	thief.spec.NodeIPs = append(thief.spec.NodeIPs, "203.0.113.5", "192.0.2.3", "10.244.2.1")
	v.records["b"] = thief
	var m memory
	self := keymgr.Node{Name: "a", PublicKey: key(1), NodeIPs: addrs("192.0.2.1")}
	accepted, problems := keymgr.Resolve(self, keymgr.Claims{}, m.snapshot(v))
	if len(accepted) != 1 || !slices.Equal(accepted[0].NodeIPs, addrs("192.0.2.2", "10.244.2.1")) || len(problems) > 0 {
		t.Fatalf("accepted %+v, problems %+v", accepted, problems)
	}
	v.nodes["c"], v.records["c"] = node(3), record(3)
	s := m.snapshot(v)
	accepted, problems = keymgr.Resolve(self, keymgr.ClaimsOf(accepted), s)
	if len(accepted) != 2 || len(problems) > 0 || len(s.Problems) != 1 || s.Problems[0].Node != "b" {
		t.Errorf("accepted %+v, problems %+v and %+v", accepted, s.Problems, problems)
	}
}

// Who copies the key of a node that joins, or that rotates its key, keeps nobody out,
// though both records are news when the snapshot is made.
func TestCopiedKey(t *testing.T) {
	object := func(name string, n int, k byte) *v1alpha1.WireGuardNode {
		r := &v1alpha1.WireGuardNode{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: record(n).spec}
		r.Spec.PublicKeys[0].Key = key(k).String()
		return r
	}
	c := newCluster("a", FromNodes, func() {})
	var m memory
	v := three()
	look := func(want string, problems int) {
		t.Helper()
		v.records = c.records.all()
		s := m.snapshot(v)
		var got []string
		for _, n := range s.Nodes {
			got = append(got, fmt.Sprintf("%s:%d", n.Name, n.PublicKey[0]))
		}
		if fmt.Sprint(got) != want || len(s.Problems) != problems || problems > 0 && s.Problems[0].Node != "b" {
			t.Errorf("got %v, want %s; problems %+v", got, want, s.Problems)
		}
	}
	do := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	do(c.records.Replace([]any{object("a", 1, 1), object("b", 2, 2)}, ""))
	look("[a:1 b:2]", 0)
	do(c.records.Add(object("c", 3, 3)))
	do(c.records.Update(object("b", 2, 3)))
	look("[a:1 b:2 c:3]", 1)
	do(c.records.Update(object("c", 3, 33)))
	do(c.records.Update(object("b", 2, 33)))
	look("[a:1 b:2 c:33]", 1)
	do(c.records.Replace([]any{object("a", 1, 1), object("b", 2, 33), object("c", 3, 33)}, "")) // after an outage
	look("[a:1 b:2 c:33]", 1)
	do(c.records.Update(object("b", 2, 22)))
	look("[a:1 b:22 c:33]", 0)
	// What came while nobody looked has no order: keymgr.Resolve decides.
	do(c.records.Replace([]any{object("a", 1, 1), object("b", 2, 44), object("c", 3, 44)}, ""))
	look("[a:1 b:44 c:44]", 0)
}

// A record that turns bad stays as it was, until what it was is wrong as well.
func TestMemory(t *testing.T) {
	var m memory
	v := three()
	before := m.snapshot(v)
	bad := record(2)
	bad.spec.Endpoints[0] = "nowhere"
	v.records["b"] = bad
	s := m.snapshot(v)
	if diff := cmp.Diff(before.Nodes, s.Nodes, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})); diff != "" {
		t.Errorf("nodes changed:\n%s", diff)
	}
	if _, told := brief(s); len(told) != 1 || !strings.HasSuffix(told[0], "(the record stays in use as it was before)") {
		t.Errorf("problems %q", told)
	}
	v.nodes["c"] = nodeFacts{podCIDRs: []string{"192.0.2.2/32"}, addresses: addrs("192.0.2.3")}
	v.nodes["b"] = nodeFacts{podCIDRs: []string{"10.244.2.0/24"}, addresses: addrs("192.0.2.22")}
	if s = m.snapshot(v); !cmp.Equal(s.Unusable, []string{"b"}) {
		t.Errorf("b was at what is now c's pods: unusable %v", s.Unusable)
	}
	delete(v.nodes, "a")
	if s = m.snapshot(v); !s.Local.Equal(&keymgr.Local{PodCIDRs: prefixes("10.244.1.0/24")}) {
		t.Errorf("without the own Node its prefixes are %v", s.Local)
	}
}

// What specOf writes parse reads back.
func TestRecordReadsBack(t *testing.T) {
	n := keymgr.Node{Name: "a", PublicKey: key(1), Endpoint: netip.MustParseAddrPort("[2001:db8::1]:51871"), NodeIPs: addrs("2001:db8::1", "192.0.2.1"), PersistentKeepalive: 90e9}
	got, wrong := parse("a", specOf(n))
	if !got.Equal(n) || len(wrong) > 0 {
		t.Errorf("%+v reads as %+v, %v", n, got, wrong)
	}
	for name, bad := range map[string]keymgr.Node{
		"loopback":  {Name: "a", PublicKey: key(1), NodeIPs: addrs("127.0.0.1")},
		"keepalive": {Name: "a", PublicKey: key(1), PersistentKeepalive: 1},
		"zone":      {Name: "a", PublicKey: key(1), NodeIPs: addrs("fe80::1%eth0")},
	} {
		if readable(bad) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What runs a peer's tunnel is in its status; what would spoil a terminal is not shown.
func TestBackendOfPeers(t *testing.T) {
	facts := factsOfRecord("a")
	told := &v1alpha1.WireGuardNode{Spec: record(2).spec}
	told.Name = "b"
	told.Status.Backend, told.Status.BackendReason = "kernel", "auto: the kernel\x1b[2J has WireGuard"
	v := three()
	_, v.records["b"], _ = facts(told)
	s := new(memory).snapshot(v)
	if n := s.Nodes[1]; n.Name != "b" || n.Backend != "kernel" || n.BackendReason != "" {
		t.Errorf("the snapshot has %+v", n)
	}
}
