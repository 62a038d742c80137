package steering

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/bpf"
)

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func cidrs(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestTable(t *testing.T) {
	s := State{
		LocalPodCIDRs: cidrs("10.244.1.0/24"),
		LocalNodeIPs:  addrs("192.0.2.1", "2001:db8::1"),
		ClusterCIDRs:  cidrs("10.244.0.0/16", "10.244.2.0/24", "fd00::/32"),
		NodeCIDRs:     cidrs("192.0.2.0/24", "192.0.2.3/32", "2001:db8::/64"),
		Peers: []Peer{
			{Name: "c", PodCIDRs: cidrs("10.244.3.0/24"), NodeIPs: addrs("192.0.2.3")},
			{Name: "b", PodCIDRs: cidrs("10.244.2.0/24", "fd00:0:2::/64"), NodeIPs: addrs("2001:db8::2")},
		},
	}
	type value struct {
		Class bpf.Class
		Peer  uint32
	}
	want := map[string]value{
		"10.244.0.0/16":   {bpf.ClassCluster, 0},
		"fd00::/32":       {bpf.ClassCluster, 0},
		"10.244.1.0/24":   {bpf.ClassLocalPod, 0},
		"192.0.2.0/24":    {bpf.ClassUnknownNode, 0},
		"2001:db8::/64":   {bpf.ClassUnknownNode, 0},
		"192.0.2.1/32":    {bpf.ClassLocalNode, 0},
		"2001:db8::1/128": {bpf.ClassLocalNode, 0},
		"10.244.2.0/24":   {bpf.ClassRemotePod, 2}, // not the cluster's: a peer has it
		"fd00:0:2::/64":   {bpf.ClassRemotePod, 2},
		"2001:db8::2/128": {bpf.ClassRemoteNode, 2},
		"10.244.3.0/24":   {bpf.ClassRemotePod, 7},
		"192.0.2.3/32":    {bpf.ClassRemoteNode, 7}, // not a node CIDR: a peer has it
	}
	table := s.table(map[uint32]string{1: "gone", 7: "c"})
	got := map[string]value{}
	for k, v := range table.prefixes {
		got[k.Prefix().String()] = value{bpf.Class(v.Class), v.Peer}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("prefixes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[uint32]string{2: "b", 7: "c"}, table.names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestStateOfTheTable: what the maps hold tells the state that they were made of.
func TestStateOfTheTable(t *testing.T) {
	made := explained.table(nil)
	again := scene{contents: made, strict: true}.state()
	remade := again.table(made.names)
	if d := diff(made.prefixes, remade.prefixes, false); len(d.put)+len(d.delete) > 0 {
		t.Errorf("other prefixes: %+v", d)
	}
	if diff := cmp.Diff(made.names, remade.names); diff != "" {
		t.Errorf("other names (-want +got):\n%s", diff)
	}
	tunnel := explained
	tunnel.Strict, tunnel.Tunnel = true, Tunnel{Index: 7, Addresses: cidrs("192.0.2.1/32", "2001:db8::1/128")}
	again.Tunnel.Index = 7
	if d := diff(tunnel.routes(), again.routes(), false); len(d.put)+len(d.delete) > 0 {
		t.Errorf("other routes: %+v", d)
	}
	if diff := cmp.Diff(tunnel.addresses(), again.addresses(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("other addresses (-want +got):\n%s", diff)
	}
}

func TestNumber(t *testing.T) {
	for _, test := range []struct {
		name  string
		known map[uint32]string
		names []string
		want  map[uint32]string
	}{
		{"none", nil, nil, map[uint32]string{}},
		{"first", nil, []string{"b", "a"}, map[uint32]string{1: "a", 2: "b"}},
		{"stable", map[uint32]string{5: "a", 1: "b"}, []string{"a", "b"}, map[uint32]string{5: "a", 1: "b"}},
		{"into a gap", map[uint32]string{1: "a", 3: "c"}, []string{"a", "b", "c", "d"}, map[uint32]string{1: "a", 2: "b", 3: "c", 4: "d"}},
		{"not into one that becomes free", map[uint32]string{1: "a"}, []string{"b"}, map[uint32]string{2: "b"}},
		{"one name under two numbers", map[uint32]string{1: "a", 2: "a"}, []string{"a"}, map[uint32]string{1: "a"}},
		{"a name twice", nil, []string{"a", "a"}, map[uint32]string{1: "a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, number(test.known, test.names)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFit: what a full map lacks are pods, those that come before those that are there.
func TestFit(t *testing.T) {
	s := State{
		LocalPodCIDRs: cidrs("10.244.1.1/32"), LocalNodeIPs: addrs("192.0.2.1", "2001:db8::1"),
		ClusterCIDRs: cidrs("10.244.0.0/16"), NodeCIDRs: cidrs("192.0.2.0/24"),
		Peers: []Peer{{Name: "b", PodCIDRs: cidrs("10.244.0.1/32", "10.244.2.1/32", "10.244.3.0/24", "fd00::1/128"), NodeIPs: addrs("192.0.2.2", "2001:db8::2")}},
	}
	order := strings.Fields("10.244.0.0/16 192.0.2.0/24 192.0.2.1/32 192.0.2.2/32 2001:db8::1/128 2001:db8::2/128 10.244.3.0/24 " +
		"10.244.2.1/32 10.244.0.1/32 10.244.1.1/32 fd00::1/128")
	have := map[bpf.SteerPrefixKey]bpf.SteerPrefix{bpf.Key(cidrs("10.244.2.1/32")[0]): {}}
	for room := range len(order) + 2 {
		table := s.table(nil)
		left := table.fit(room+1, have) // an entry stays free
		var got []string
		for _, k := range append(byNeed(table.prefixes, have), left...) {
			got = append(got, k.Prefix().String())
		}
		if diff := cmp.Diff(order, got); diff != "" || len(table.prefixes) != min(room, len(order)) {
			t.Errorf("room for %d: %d fit (-want +got):\n%s", room, len(table.prefixes), diff)
		}
	}
}

func TestDiff(t *testing.T) {
	have := map[string]int{"stays": 1, "changes": 1, "goes": 1}
	want := map[string]int{"stays": 1, "changes": 2, "comes": 1}
	for _, keep := range []bool{false, true} {
		d := diff(have, want, keep)
		if diff := cmp.Diff(map[string]int{"changes": 2, "comes": 1}, d.put); diff != "" {
			t.Errorf("keep %v: put (-want +got):\n%s", keep, diff)
		}
		if (len(d.delete) == 0) != keep || !keep && d.delete[0] != "goes" {
			t.Errorf("keep %v: delete %v", keep, d.delete)
		}
		got := map[string]int{"stays": 1, "changes": 1, "goes": 1}
		d.applyPut(got)
		d.applyDelete(got)
		if again := diff(got, want, keep); len(again.put)+len(again.delete) != 0 {
			t.Errorf("keep %v: applied, it leaves %+v", keep, again)
		}
	}
}

func TestRoutes(t *testing.T) {
	addr, cidr := netip.MustParseAddr, netip.MustParsePrefix
	peers := []Peer{{Name: "b", PodCIDRs: cidrs("10.244.2.0/24", "fd00:0:2::/64")}}
	cluster := cidrs("10.244.0.0/16", "fd00::/32")
	tunnel := Tunnel{Index: 7, Addresses: cidrs("2001:db8::1/128", "192.0.2.1/32", "198.51.100.1/32")}
	unreachable := map[routeKey]routeTarget{
		{cidr("10.244.0.0/16"), 4294967295}: {},
		{cidr("fd00::/32"), 4294967295}:     {},
	}
	pods := map[routeKey]routeTarget{
		{cidr("10.244.2.0/24"), 4294967294}: {7, addr("192.0.2.1")},
		{cidr("fd00:0:2::/64"), 4294967294}: {7, addr("2001:db8::1")},
	}
	unknown := map[routeKey]routeTarget{
		{cidr("10.244.0.0/16"), 4294967294}: {7, addr("192.0.2.1")},
		{cidr("fd00::/32"), 4294967294}:     {7, addr("2001:db8::1")},
	}
	all := map[routeKey]routeTarget{}
	for _, m := range []map[routeKey]routeTarget{unreachable, pods, unknown} {
		for k, v := range m {
			all[k] = v
		}
	}
	for _, test := range []struct {
		name  string
		state State
		want  map[routeKey]routeTarget
	}{
		{"guard", State{Strict: true, ClusterCIDRs: cluster, Peers: peers}, unreachable},
		{"strict", State{Strict: true, ClusterCIDRs: cluster, Peers: peers, Tunnel: tunnel}, all},
		{"permissive", State{ClusterCIDRs: cluster, Peers: peers, Tunnel: tunnel}, pods},
		{"permissive, no tunnel", State{ClusterCIDRs: cluster, Peers: peers}, map[routeKey]routeTarget{}},
		{"no address", State{Peers: peers[:1], Tunnel: Tunnel{Index: 7, Addresses: cidrs("192.0.2.1/32")}},
			map[routeKey]routeTarget{
				{cidr("10.244.2.0/24"), 4294967294}: {7, addr("192.0.2.1")},
				{cidr("fd00:0:2::/64"), 4294967294}: {7, netip.Addr{}},
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			compare := cmp.Comparer(func(a, b map[routeKey]routeTarget) bool {
				d := diff(a, b, false)
				return len(d.put)+len(d.delete) == 0
			})
			if got := test.state.routes(); !cmp.Equal(test.want, got, compare) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
