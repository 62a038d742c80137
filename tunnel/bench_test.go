package tunnel_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// meshOf is a node's configuration in a cluster of so many peers, each with pods and
// an address of either family.
func meshOf(peers int) tunnel.Config {
	var c tunnel.Config
	for i := range peers {
		high, low := byte(i>>8), byte(i)
		node4, node6 := netip.AddrFrom4([4]byte{192, 0, high, low}), netip.AddrFrom16([16]byte{0x20, 1, 14: high, 15: low})
		c.Peers = append(c.Peers, tunnel.Peer{
			PublicKey: wgkey.PublicKey{low, high, 1},
			Endpoint:  netip.AddrPortFrom(node4, 51871),
			AllowedIPs: []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, high, low, 0}), 24),
				netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 4: high, 5: low}), 48),
				netip.PrefixFrom(node4, 32), netip.PrefixFrom(node6, 128),
			},
		})
	}
	return c
}

// BenchmarkDiff is what it takes to find out what changes: nothing, one peer's pods, or
// all, as when the first snapshot comes.
func BenchmarkDiff(b *testing.B) {
	for _, peers := range []int{1, 100, 1000} {
		have := meshOf(peers)
		one := meshOf(peers)
		one.Peers[peers/2].AllowedIPs = slices.Concat(one.Peers[peers/2].AllowedIPs, prefixes("172.16.0.0/24"))
		for _, bench := range []struct {
			change     string
			have, want tunnel.Config
			changed    int
		}{{"none", have, meshOf(peers), 0}, {"one", have, one, 1}, {"all", tunnel.Config{}, have, peers}} {
			b.Run(fmt.Sprintf("peers=%d/change=%s", peers, bench.change), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if d := tunnel.Diff(bench.have, bench.want); len(d.Peers) != bench.changed {
						b.Fatalf("%d peers change, want %d", len(d.Peers), bench.changed)
					}
				}
			})
		}
	}
}
