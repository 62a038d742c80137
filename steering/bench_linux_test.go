package steering

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
)

// stateOf is a node's in a cluster of so many peers, each with pods of either family.
func stateOf(peers int) State {
	s := State{
		Strict:        true,
		Tunnel:        Tunnel{Index: 7, Addresses: cidrs("192.0.2.1/32", "2001:db8::1/128")},
		LocalPodCIDRs: cidrs("10.255.0.0/24"),
		LocalNodeIPs:  addrs("192.0.2.1", "2001:db8::1"),
		ClusterCIDRs:  cidrs("10.0.0.0/8", "fd00::/16"),
		NodeCIDRs:     cidrs("192.0.2.0/24", "198.18.0.0/15"),
		PodDevices:    []string{"veth*"},
	}
	for i := range peers {
		high, low := byte(i>>8), byte(i)
		node := netip.AddrFrom4([4]byte{198, 18, high, low})
		s.Peers = append(s.Peers, Peer{
			Name: fmt.Sprintf("peer-%04d", i), NodeIPs: []netip.Addr{node}, Endpoint: node,
			PodCIDRs: []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, high, low, 0}), 24),
				netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 4: high, 5: low}), 48),
			},
		})
	}
	return s
}

// BenchmarkState is what a state costs before the kernel hears of it: which peers can be
// steered, what the maps, the nftables table and the routes should hold, and what of the
// maps changes where one peer's pods are more.
func BenchmarkState(b *testing.B) {
	for _, peers := range []int{10, 500, 5000} {
		s, before := stateOf(peers), stateOf(peers)
		one := &s.Peers[peers/2]
		one.PodCIDRs = slices.Concat(one.PodCIDRs, cidrs("10.254.0.0/24"))
		if refused := s.Refused(); len(refused) > 0 {
			b.Fatal(refused)
		}
		have, want := before.table(nil), s.table(nil)
		if d := diff(have.prefixes, want.prefixes, false); len(d.put) != 1 || len(d.delete) != 0 {
			b.Fatalf("the difference is %+v", d)
		}
		devices, pods, host := map[int]bool{1: true, 2: true}, podDevicesOf("wgs0", s.PodDevices), &nftables.Table{Name: "wgsteer-wgs0"}
		table := nft(want.prefixes, devices, pods, true)
		if _, err := table.encode(host); err != nil {
			b.Fatal(err)
		}
		for _, step := range []struct {
			name string
			do   func()
		}{
			{"refused", func() { s.Refused() }},
			{"table", func() { s.table(have.names) }},
			{"difference", func() { diff(have.prefixes, want.prefixes, false) }},
			{"nft", func() { nft(want.prefixes, devices, pods, true) }},
			{"nft-encode", func() { _, _ = table.encode(host) }},
			{"routes", func() { s.routes() }},
		} {
			b.Run(fmt.Sprintf("peers=%d/step=%s", peers, step.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					step.do()
				}
			})
		}
	}
}
