package steering

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// explained is a node with one peer.
var explained = State{
	LocalPodCIDRs: cidrs("10.244.1.0/24", "fd00:244:1::/64"),
	LocalNodeIPs:  addrs("192.0.2.1", "2001:db8::1"),
	ClusterCIDRs:  cidrs("10.244.0.0/16", "fd00:244::/32"),
	NodeCIDRs:     cidrs("192.0.2.0/25", "2001:db8::/126"),
	Peers: []Peer{{Name: "node-b", PodCIDRs: cidrs("10.244.2.0/24", "fd00:244:2::/64"),
		NodeIPs: addrs("192.0.2.2", "2001:db8::2"), Endpoint: netip.MustParseAddr("192.0.2.2")}},
}

func TestExplain(t *testing.T) {
	const pod, peerPod, unknownPod, node, peerNode, unknownNode, world = "10.244.1.5", "10.244.2.7", "10.244.9.9", "192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.7"
	eth0 := device{index: 2, name: "eth0", mtu: 1500}
	cni0 := device{index: 3, name: "cni0", mtu: 1420}
	eth1 := device{index: 4, name: "eth1", mtu: 9000} // not steered
	wgs0 := device{index: 9, name: "wgs0", mtu: 1420}
	by := func(d device) func(*scene) {
		return func(s *scene) { s.route, s.out = Route{Type: "unicast", Device: d.name}, d }
	}
	refused := func(kind string) func(*scene) {
		return func(s *scene) { s.route, s.out = Route{Type: kind}, device{} }
	}
	toHere := func(s *scene) { s.route = Route{Type: "local", Device: "lo"} }
	permissive := func(s *scene) { s.strict = false }
	dead := func(s *scene) { s.tunnel = device{} }
	guarding := func(s *scene) { s.tunnel, s.index = device{}, 0 }
	other := func(s *scene) { s.tunnel.index = 10 }
	bare := func(s *scene) { s.ingress = nil }
	fenced := func(s *scene) {
		s.table = tableSeen{name: "table inet t", strict: s.strict, spared: map[int]bool{eth0.index: true}}
	}
	among := func(patterns ...string) func(*scene) {
		return func(s *scene) { fenced(s); s.table.pods = podDevicesOf("wgs0", patterns) }
	}
	only := func(roles ...role) func(*scene) {
		return func(s *scene) {
			on := programs{}
			for _, r := range roles {
				on[r] = "tcx"
			}
			s.egress, s.ingress = map[string]programs{"eth0": on}, map[string]programs{"eth0": on}
		}
	}
	for _, tc := range []struct {
		name     string
		from, to string
		change   []func(*scene)
		want     string // direction: hook@device verdict reason ...: verdict reason device peer [plaintext]
	}{
		{"redirected", pod, peerPod, []func(*scene){by(eth0)}, "out: egress@eth0 encrypt to_remote_pod, tunnel_egress@wgs0 encrypt to_remote_pod: encrypt to_remote_pod wgs0/1420 node-b"},
		{"routed", pod, peerPod, []func(*scene){by(wgs0)}, "out: tunnel_egress@wgs0 encrypt to_remote_pod: encrypt to_remote_pod wgs0/1420 node-b"},
		{"to a node", pod, peerNode, []func(*scene){by(eth0)}, "out: egress@eth0 encrypt to_remote_node, tunnel_egress@wgs0 encrypt to_remote_node: encrypt to_remote_node wgs0/1420 node-b"},
		{"between nodes", node, peerNode, []func(*scene){by(eth0)}, "out: egress@eth0 pass not_pod_traffic: pass not_pod_traffic eth0/1500 node-b"},
		{"to the world", pod, world, []func(*scene){by(eth0)}, "out: egress@eth0 pass not_pod_traffic: pass not_pod_traffic eth0/1500 "},
		{"to an unknown pod", pod, unknownPod, []func(*scene){by(eth0)}, "out: egress@eth0 drop unknown_peer: drop unknown_peer eth0/1500 "},
		{"the same, permissive", pod, unknownPod, []func(*scene){by(eth0), permissive}, "out: egress@eth0 pass unknown_peer: pass unknown_peer eth0/1500  plaintext"},
		{"to an unknown node", pod, unknownNode, []func(*scene){by(eth0)}, "out: egress@eth0 drop unknown_node: drop unknown_node eth0/1500 "},
		{"the same, permissive", pod, unknownNode, []func(*scene){by(eth0), permissive}, "out: egress@eth0 pass unknown_node: pass unknown_node eth0/1500  plaintext"},
		{"the same, by a device without programs", pod, unknownNode, []func(*scene){by(eth1), fenced}, "out: : drop not_steered eth1/9000 "},
		{"the same, by the tunnel", pod, unknownNode, []func(*scene){by(wgs0)}, "out: tunnel_egress@wgs0 drop unknown_node: drop unknown_node wgs0/1420 "},
		{"from this node to it", node, unknownNode, []func(*scene){by(eth0)}, "out: egress@eth0 pass not_pod_traffic: pass not_pod_traffic eth0/1500 "},
		{"steer alone", pod, peerPod, []func(*scene){by(eth0), only(roleSteer)}, "out: egress@eth0 encrypt to_remote_pod, tunnel_egress@wgs0 encrypt to_remote_pod: encrypt to_remote_pod wgs0/1420 node-b"},
		{"steer alone, to an unknown pod", pod, unknownPod, []func(*scene){by(eth0), only(roleSteer)}, "out: : pass unguarded eth0/1500  plaintext"},
		{"without steer", pod, peerPod, []func(*scene){by(eth0), only(roleGuard)}, "out: egress@eth0 drop not_steered: drop not_steered eth0/1500 node-b"},
		{"the backstop alone", pod, unknownPod, []func(*scene){by(eth0), only(roleBackstop)}, "out: egress@eth0 drop unknown_peer: drop unknown_peer eth0/1500 "},
		{"the backstop alone, from a peer's pod", peerPod, pod, []func(*scene){by(cni0), dead, only(roleBackstop)}, "in: ingress@eth0 drop plaintext_in: drop plaintext_in cni0/1420 node-b"},
		{"by a device without programs", pod, peerPod, []func(*scene){by(eth1)}, "out: : pass unguarded eth1/9000 node-b plaintext"},
		{"the same, with the table", pod, peerPod, []func(*scene){by(eth1), fenced}, "out: : drop not_steered eth1/9000 node-b"},
		{"the same, permissive", pod, peerPod, []func(*scene){by(eth1), permissive, fenced}, "out: : pass unguarded eth1/9000 node-b plaintext"},
		{"by one that the table leaves to its programs, which it has not", pod, unknownPod, []func(*scene){by(eth0), only(), fenced}, "out: : pass unguarded eth0/1500  plaintext"},
		{"to the world by it, with the table", pod, world, []func(*scene){by(eth1), fenced}, "out: : pass unguarded eth1/9000 "},
		{"to the world by it", pod, world, []func(*scene){by(eth1)}, "out: : pass unguarded eth1/9000 "},
		{"the daemon is dead", pod, peerPod, []func(*scene){by(eth0), dead}, "out: egress@eth0 encrypt to_remote_pod: drop no_tunnel eth0/1500 node-b"},
		{"its device is another one", pod, peerPod, []func(*scene){by(eth0), other}, "out: egress@eth0 encrypt to_remote_pod: drop no_tunnel eth0/1500 node-b"},
		{"guarding", pod, peerPod, []func(*scene){by(eth0), guarding}, "out: egress@eth0 drop no_tunnel: drop no_tunnel eth0/1500 node-b"},
		{"unreachable", pod, peerPod, []func(*scene){refused("unreachable")}, "out: : drop no_route /0 node-b"},
		{"foreign source", world, peerPod, []func(*scene){by(eth0)}, "out: egress@eth0 drop foreign_source: drop foreign_source eth0/1500 node-b"},
		{"a local pod out there", pod, "10.244.1.6", []func(*scene){by(eth0)}, "out: egress@eth0 drop misrouted: drop misrouted eth0/1500 "},

		{"pods here", pod, "10.244.1.6", []func(*scene){by(cni0)}, "here: : pass local cni0/1420 "},
		{"to this node", pod, node, []func(*scene){toHere}, "here: : pass local lo/0 "},
		{"from a peer's pod", peerPod, pod, []func(*scene){by(cni0)}, "in: ingress@eth0 drop plaintext_in, tunnel_ingress@wgs0 pass to_local: pass to_local wgs0/1420 node-b"},
		{"the same to this node", peerPod, node, []func(*scene){toHere}, "in: ingress@eth0 drop plaintext_in, tunnel_ingress@wgs0 pass to_local: pass to_local wgs0/1420 node-b"},
		{"from it while the daemon is dead", peerPod, pod, []func(*scene){by(cni0), dead}, "in: ingress@eth0 drop plaintext_in: drop plaintext_in cni0/1420 node-b"},
		{"from an unknown pod", unknownPod, pod, []func(*scene){by(cni0)}, "in: ingress@eth0 drop plaintext_in: drop plaintext_in cni0/1420 "},
		{"the same, permissive", unknownPod, pod, []func(*scene){by(cni0), permissive}, "in: ingress@eth0 pass plaintext_in: pass plaintext_in cni0/1420  plaintext"},
		{"the same, no program", unknownPod, pod, []func(*scene){by(cni0), bare}, "in: : pass unguarded cni0/1420  plaintext"},
		{"the same, with the table", unknownPod, pod, []func(*scene){by(cni0), bare, fenced}, "in: : drop plaintext_in cni0/1420 "},
		{"from a peer's node", peerNode, pod, []func(*scene){by(cni0)}, "in: ingress@eth0 drop plaintext_in, tunnel_ingress@wgs0 pass to_local: pass to_local wgs0/1420 node-b"},
		{"the same, by a device of pods", peerNode, pod, []func(*scene){by(cni0), among("veth*", "cni0")}, "in: ingress@eth0 drop plaintext_in, tunnel_ingress@wgs0 pass to_local: pass to_local wgs0/1420 node-b"},
		{"the same, by another device", peerNode, pod, []func(*scene){by(eth1), among("veth*", "cni0")}, "in: ingress@eth0 drop plaintext_in, tunnel_ingress@wgs0 pass to_local: drop misrouted wgs0/1420 node-b"},
		{"the same, permissive", peerNode, pod, []func(*scene){by(eth1), permissive, among("cni*")}, "in: ingress@eth0 pass plaintext_in, tunnel_ingress@wgs0 pass to_local: pass to_local wgs0/1420 node-b plaintext"},
		{"from a peer's node to this one", peerNode, node, []func(*scene){toHere}, "in: ingress@eth0 pass not_pod_traffic: pass not_pod_traffic lo/0 node-b"},
		{"from an unknown node", unknownNode, pod, []func(*scene){by(cni0)}, "in: ingress@eth0 drop unknown_node: drop unknown_node cni0/1420 "},
		{"the same, permissive", unknownNode, pod, []func(*scene){by(cni0), permissive}, "in: ingress@eth0 pass unknown_node: pass unknown_node cni0/1420  plaintext"},
		{"from it to this node", unknownNode, node, []func(*scene){toHere}, "in: ingress@eth0 pass not_pod_traffic: pass not_pod_traffic lo/0 "},
		{"from the world", world, pod, []func(*scene){by(cni0)}, "in: ingress@eth0 pass not_pod_traffic: pass not_pod_traffic cni0/1420 "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := scene{contents: explained.table(nil), strict: true, index: 9, tunnel: wgs0,
				egress:  map[string]programs{"eth0": {roleSteer: "tcx", roleGuard: "tcx", roleBackstop: "clsact"}},
				ingress: map[string]programs{"eth0": {roleGuard: "tcx", roleBackstop: "clsact"}}}
			for _, change := range tc.change {
				change(&s)
			}
			got := brief(s.explain(netip.MustParseAddr(tc.from), netip.MustParseAddr(tc.to)))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("explanation (-want +got):\n%s", diff)
			}
		})
	}
}

// TestExplainMTU: for what is encrypted a length counts, and only for that.
func TestExplainMTU(t *testing.T) {
	eth0 := device{index: 2, name: "eth0", mtu: 1500}
	for _, tc := range []struct {
		from, to string
		mtu      int
		want     string
	}{
		{"10.244.1.5", "10.244.2.7", 1420, "is dropped as too_long, and answered by ICMP, if"},
		{"10.244.1.5", "192.0.2.2", 1420, "is dropped as too_long, and answered by ICMP, if"},
		{"fd00:244:1::5", "fd00:244:2::7", 1280, "is dropped as too_long, and answered by ICMP"},
		{"fd00:244:1::5", "fd00:244:2::7", 1279, "goes in fragments"},
		{"192.0.2.1", "192.0.2.2", 1420, ""},
		{"10.244.1.5", "10.244.9.9", 1420, ""},
		{"10.244.1.5", "198.51.100.7", 1420, ""},
	} {
		s := scene{contents: explained.table(nil), strict: true, index: 9, tunnel: device{index: 9, name: "wgs0", mtu: tc.mtu},
			route: Route{Type: "unicast", Device: "eth0"}, out: eth0, egress: map[string]programs{"eth0": {roleSteer: "tcx", roleGuard: "tcx"}}}
		e := s.explain(netip.MustParseAddr(tc.from), netip.MustParseAddr(tc.to))
		if !strings.HasPrefix(e.Longer, tc.want) || (e.Longer == "") != (tc.want == "") {
			t.Errorf("%s > %s, MTU %d: %q, want %q", tc.from, tc.to, tc.mtu, e.Longer, tc.want)
		}
	}
}

// brief is an explanation in a line.
func brief(e Explanation) string {
	var steps []string
	for _, s := range e.Steps {
		steps = append(steps, s.Hook+"@"+s.Device+" "+s.Verdict+" "+s.Reason)
	}
	device := fmt.Sprintf("%s/%d", e.Device, e.MTU)
	text := e.Direction + ": " + strings.Join(steps, ", ") + ": " + e.Verdict + " " + e.Reason + " " + device + " " + e.Peer
	if e.Plaintext {
		text += " plaintext"
	}
	return text
}

func TestExplainLayers(t *testing.T) {
	eth0 := device{index: 2, name: "eth0", mtu: 1500}
	s := scene{contents: explained.table(nil), strict: true, route: Route{Type: "unicast", Device: "eth0"}, out: eth0,
		table:  tableSeen{name: "table inet t", strict: true, spared: map[int]bool{eth0.index: true}},
		egress: map[string]programs{"eth0": {roleSteer: "tcx", roleBackstop: "clsact"}},
		ours:   []ownedRoute{{cidrs("10.244.2.0/24")[0], false}, {cidrs("10.244.0.0/16")[0], true}, {cidrs("10.244.8.0/24")[0], false}}}
	for to, want := range map[string][]Layer{
		"10.244.2.7":  {{"guard", false, "not on the egress of the route's device"}, {"backstop", true, "clsact on the egress of eth0"}, {"nftables", false, "table inet t is for devices without programs"}, {"tunnel_route", true, "10.244.2.0/24"}, {"unreachable_route", true, "10.244.0.0/16"}},
		"10.244.9.9":  {{"guard", false, "not on the egress of the route's device"}, {"backstop", true, "clsact on the egress of eth0"}, {"nftables", false, "table inet t is for devices without programs"}, {"tunnel_route", false, "no route of ours into the tunnel for it"}, {"unreachable_route", true, "10.244.0.0/16"}},
		"192.0.2.9":   {{"guard", false, "not on the egress of the route's device"}, {"backstop", true, "clsact on the egress of eth0"}, {"nftables", false, "table inet t is for devices without programs"}, {"tunnel_route", false, "no route of ours into the tunnel for it"}, {"unreachable_route", false, "no unreachable route of ours for it"}},
		"192.0.2.200": {},
	} {
		e := s.explain(netip.MustParseAddr("10.244.1.5"), netip.MustParseAddr(to))
		if diff := cmp.Diff(want, e.Layers); diff != "" {
			t.Errorf("layers to %s (-want +got):\n%s", to, diff)
		}
	}
}

// TestExplainLayersPermissive: the programs drop what is to be encrypted, and let pass
// what strict would refuse.
func TestExplainLayersPermissive(t *testing.T) {
	s := scene{contents: explained.table(nil), route: Route{Type: "unicast", Device: "eth0"}, out: device{index: 2, name: "eth0", mtu: 1500},
		egress: map[string]programs{"eth0": {roleGuard: "tcx", roleBackstop: "clsact"}}}
	for to, want := range map[string][]Layer{
		"10.244.2.7": {{"guard", true, "tcx on the egress of eth0"}, {"backstop", true, "clsact on the egress of eth0"}},
		"10.244.9.9": {{"guard", false, "tcx on the egress of eth0 only counts: the policy is permissive"}, {"backstop", false, "clsact on the egress of eth0 only counts: the policy is permissive"}},
	} {
		e := s.explain(netip.MustParseAddr("10.244.1.5"), netip.MustParseAddr(to))
		if diff := cmp.Diff(want, e.Layers[:2]); diff != "" || e.Plaintext == want[0].There {
			t.Errorf("layers to %s, plaintext %v (-want +got):\n%s", to, e.Plaintext, diff)
		}
	}
}

func TestExplainTable(t *testing.T) {
	eth0, eth1 := device{index: 2, name: "eth0"}, device{index: 4, name: "eth1"}
	for _, test := range []struct {
		name  string
		table tableSeen
		out   device
		route string
		want  Layer
	}{
		{"none", tableSeen{}, eth1, "unicast", Layer{"nftables", false, "no nftables table of ours, with our rules"}},
		{"permissive", tableSeen{name: "table inet t"}, eth1, "unicast", Layer{"nftables", false, "table inet t only counts: the policy is permissive"}},
		{"a device with the programs", tableSeen{name: "table inet t", strict: true, spared: map[int]bool{2: true}}, eth0, "unicast", Layer{"nftables", false, "table inet t is for devices without programs"}},
		{"one without", tableSeen{name: "table inet t", strict: true, spared: map[int]bool{2: true}}, eth1, "unicast", Layer{"nftables", true, "table inet t, on eth1"}},
		{"no route", tableSeen{name: "table inet t", strict: true, spared: nil}, device{}, "unreachable", Layer{"nftables", true, "table inet t, on devices without programs"}},
	} {
		s := scene{table: test.table, out: test.out, route: Route{Type: test.route}}
		if got := s.tableLayer(); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
