package steering

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/bpf"
)

// nftPacket is what the rules ask for of a packet.
type nftPacket struct {
	device              int // of the chain's direction
	source, destination netip.Addr
	cameBy, leavesBy    string
}

// decide follows a packet through the rules of a chain, as the kernel does.
func (t nftTable) decide(chain string, p nftPacket) (counter string, verdict nftVerdict) {
	meets := func(m nftMatch) bool {
		addr := map[nftField]netip.Addr{nftSource: p.source, nftDestination: p.destination}[m.field]
		switch m.field {
		case nftDevice:
			return t.devices[p.device]
		case nftCameBy:
			return p.cameBy == m.what
		case nftNotBy:
			return !fits(m.what, p.leavesBy)
		}
		return strings.HasSuffix(m.what, family(addr)) && inRanges(t.ranges[m.what], addr)
	}
	for _, r := range t.rules() {
		if r.chain != chain {
			continue
		}
		met := true
		for _, m := range r.match {
			met = met && meets(m)
		}
		switch {
		case !met:
		case r.verdict == nftContinue:
			counter = r.counter
		default:
			if r.counter != "" {
				counter = r.counter
			}
			return counter, r.verdict
		}
	}
	return counter, nftContinue
}

// TestNftRules: on a device without programs the table refuses what they would
// have encrypted or refused, in both directions, but what is for a local pod:
// that is where it is going.
func TestNftRules(t *testing.T) {
	whose := map[bpf.Class][]netip.Addr{ // IPv4, IPv6
		bpf.ClassNone:        addrs("198.51.100.7", "2001:db8:ffff::7"),
		bpf.ClassLocalPod:    addrs("10.244.1.5", "fd00:244:1::5"),
		bpf.ClassLocalNode:   addrs("192.0.2.1", "2001:db8::1"),
		bpf.ClassRemotePod:   addrs("10.244.2.7", "fd00:244:2::7"),
		bpf.ClassRemoteNode:  addrs("192.0.2.2", "2001:db8:2::2"), // in a node CIDR, and in none
		bpf.ClassCluster:     addrs("10.244.9.9", "fd00:244:9::9"),
		bpf.ClassUnknownNode: addrs("192.0.2.3", "2001:db8::3"),
	}
	state := State{
		LocalPodCIDRs: cidrs("10.244.1.0/24", "fd00:244:1::/64"),
		LocalNodeIPs:  whose[bpf.ClassLocalNode],
		ClusterCIDRs:  cidrs("10.244.0.0/16", "fd00:244::/32"),
		NodeCIDRs:     cidrs("192.0.2.0/30", "2001:db8::/126"),
		Peers:         []Peer{{Name: "b", PodCIDRs: cidrs("10.244.2.0/24", "fd00:244:2::/64"), NodeIPs: whose[bpf.ClassRemoteNode]}},
	}
	const steered, other = 2, 3
	for _, strict := range []bool{true, false} {
		table := nft(state.table(nil).prefixes, map[int]bool{1: true, steered: true}, podDevicesOf("wgs0", []string{"veth*"}), strict)
		for from, sources := range whose {
			for to, destinations := range whose {
				for i := range sources {
					_, out := decideOut(from, to, bpf.VerdictDrop)
					_, in := decide(bpf.HookIngress, from, to, true, true)
					for chain, refused := range map[string]bool{
						nftEgress:  out != bpf.ReasonNotPodTraffic && to != bpf.ClassLocalPod,
						nftIngress: in != bpf.ReasonNotPodTraffic,
					} {
						counter, verdict := "", nftContinue
						switch {
						case refused && strict:
							counter, verdict = chain+"_drop", nftDrop
						case refused:
							counter = chain + "_pass"
						}
						gotCounter, got := table.decide(chain, nftPacket{other, sources[i], destinations[i], "veth1", "eth1"})
						if got != verdict || gotCounter != counter {
							t.Errorf("strict %v: %v to %v at %s: verdict %v, counter %q, want %v, %q", strict, from, to, chain, got, gotCounter, verdict, counter)
						}
						for _, exempt := range []int{1, steered} {
							if counter, verdict := table.decide(chain, nftPacket{exempt, sources[i], destinations[i], "veth1", "eth1"}); counter != "" || verdict != nftAccept {
								t.Errorf("strict %v: %v to %v at %s of device %d: verdict %v, counter %q", strict, from, to, chain, exempt, verdict, counter)
							}
						}
					}
				}
			}
		}
	}
}

// TestNftPodDevices: what comes out of the tunnel for a pod leaves by no device but
// those that are named; all else is as without names.
func TestNftPodDevices(t *testing.T) {
	state := State{LocalPodCIDRs: cidrs("10.244.1.0/24", "fd00:244:1::/64"), ClusterCIDRs: cidrs("10.244.0.0/16", "fd00:244::/32")}
	here, world := addrs("10.244.1.5", "fd00:244:1::5"), addrs("198.51.100.7", "2001:db8::7")
	peers := addrs("10.244.2.7", "fd00:244:2::7")
	const steered, other = 2, 3
	for _, test := range []struct {
		name     string
		patterns []string
		cameBy   string
		leavesBy string
		device   int
		to       []netip.Addr
		refused  string // the reason; "" none
	}{
		{"no names", nil, "wgs0", "eth1", other, here, ""},
		{"a name", []string{"cni0"}, "wgs0", "cni0", other, here, ""},
		{"another", []string{"cni0"}, "wgs0", "cni01", other, here, "misrouted"},
		{"the start of one", []string{"cni0", "cali*"}, "wgs0", "cali01ab", other, here, ""},
		{"the start alone", []string{"cni0", "cali*"}, "wgs0", "cali", other, here, ""},
		{"less than the start", []string{"cni0", "cali*"}, "wgs0", "cal", other, here, "misrouted"},
		{"none of several", []string{"cni0", "veth*", "cali*"}, "wgs0", "eth1", other, here, "misrouted"},
		{"not out of the tunnel", []string{"cni0"}, "cni0", "eth1", other, here, ""},
		{"a steered device", []string{"cni0"}, "wgs0", "eth0", steered, here, "misrouted"},
		{"one that is named", []string{"eth0"}, "wgs0", "eth0", steered, here, ""},
		{"to the world", []string{"cni0"}, "wgs0", "eth1", other, world, ""},
		{"to a peer's pod by a device of pods", []string{"cni0"}, "wgs0", "cni0", other, peers, "not_steered"},
	} {
		for _, strict := range []bool{true, false} {
			for i := range test.to {
				table := nft(state.table(nil).prefixes, map[int]bool{steered: true}, podDevicesOf("wgs0", test.patterns), strict)
				counter, verdict := table.decide(nftEgress, nftPacket{test.device, peers[i], test.to[i], test.cameBy, test.leavesBy})
				_, verdicts := nftCounters()
				want := Verdict{}
				if test.refused != "" {
					want = Verdict{Hook: nftEgress, Verdict: "drop", Reason: test.refused}
					if !strict {
						want.Verdict, want.WouldDrop = "pass", true
					}
				}
				if verdicts[counter] != want || (verdict == nftDrop) != (want.Verdict == "drop") {
					t.Errorf("%s, strict %v, to %v: verdict %v, counted as %+v, want %+v", test.name, strict, test.to[i], verdict, verdicts[counter], want)
				}
			}
		}
	}
}

// TestNftSets: peers' pods change nothing, and their nodes an element each, or none
// where a node CIDR holds them.
func TestNftSets(t *testing.T) {
	s := State{LocalPodCIDRs: cidrs("10.244.1.0/24"), ClusterCIDRs: cidrs("10.244.0.0/16", "10.244.0.0/20", "fd00:244::/32")}
	text := func() map[string]string {
		texts := map[string]string{}
		for set, ranges := range nft(s.table(nil).prefixes, nil, podDevices{}, true).ranges {
			texts[set] = rangesText(ranges)
		}
		return texts
	}
	want := map[string]string{
		"other_pods4": "10.244.0.0-10.244.0.255 10.244.2.0-10.244.255.255",
		"other_pods6": "fd00:244::-fd00:244:ffff:ffff:ffff:ffff:ffff:ffff",
		"local_pods4": "10.244.1.0-10.244.1.255",
	}
	if diff := cmp.Diff(want, text()); diff != "" {
		t.Errorf("without peers (-want +got):\n%s", diff)
	}
	s.Peers = []Peer{{Name: "b", PodCIDRs: cidrs("10.244.2.0/24", "fd00:244:2::/64"), NodeIPs: addrs("192.0.2.2", "2001:db8::2")}}
	want["remote_nodes4"], want["remote_nodes6"] = "192.0.2.2-192.0.2.2", "2001:db8::2-2001:db8::2"
	if diff := cmp.Diff(want, text()); diff != "" {
		t.Errorf("with one (-want +got):\n%s", diff)
	}
	s.NodeCIDRs, s.LocalNodeIPs = cidrs("192.0.2.0/29", "192.0.2.0/30"), addrs("192.0.2.1")
	delete(want, "remote_nodes4")
	want["node_cidrs4"] = "192.0.2.0-192.0.2.0 192.0.2.2-192.0.2.7"
	if diff := cmp.Diff(want, text()); diff != "" {
		t.Errorf("with node CIDRs around it (-want +got):\n%s", diff)
	}
}

func TestNftName(t *testing.T) {
	for device, want := range map[string]string{
		"wgsteer0": "wgsteer-wgsteer0", "wg-1_A": "wgsteer-wg-1_A", "wg:1": "wgsteer-wg.3a1", "wg@é": "wgsteer-wg.40.c3.a9",
	} {
		if got := nftName(device); got != want {
			t.Errorf("table for %s: %s, want %s", device, got, want)
		}
	}
}

func TestSpared(t *testing.T) {
	n := network{devices: []device{
		{index: 1, name: "lo", loopback: true},
		{index: 2, name: "eth0"},
		{index: 3, name: "vrf0", kind: "vrf"},
		{index: 4, name: "cni0", kind: "bridge", master: 3},
		{index: 5, name: "vxlan0", kind: "vxlan", master: 4},
		{index: 6, name: "pod0", kind: "veth", master: 4},
		{index: 7, name: "eth1"},
	}}
	for _, test := range []struct {
		name          string
		steered, want map[int]bool
	}{
		{"nothing", nil, map[int]bool{1: true}},
		{"an uplink", map[int]bool{2: true}, map[int]bool{1: true, 2: true}},
		{"a port of a bridge in a VRF", map[int]bool{5: true}, map[int]bool{1: true, 3: true, 4: true, 5: true}},
		{"one that is gone", map[int]bool{9: true}, map[int]bool{1: true, 9: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, n.spared(test.steered)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
