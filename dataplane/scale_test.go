package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// podAddresses is a cluster of 100 nodes with 100 pods each, known by their
// addresses alone.
func podAddresses() (c Config, nodes []keymgr.Node) {
	c = config()
	c.PodCIDRs, c.ClusterCIDRs = nil, pfx("10.128.0.0/9")
	for i := range 100 {
		n := keymgr.Node{Name: fmt.Sprintf("peer-%03d", i), PublicKey: wgkey.PublicKey{byte(i), 7}}
		n.NodeIPs = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 2)})}
		n.Endpoint = netip.AddrPortFrom(n.NodeIPs[0], 51871)
		for pod := range 100 {
			n.PodCIDRs = append(n.PodCIDRs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128 + byte(i), byte(pod), 1}), 32))
		}
		nodes = append(nodes, n)
	}
	return c, nodes
}

// BenchmarkOnePodOfTenThousand is what one pod more costs in what is pure: who
// holds what, the plan, and the differences.
func BenchmarkOnePodOfTenThousand(b *testing.B) {
	c, nodes := podAddresses()
	own := wgkey.PrivateKey{}
	f := facts{local: local("10.255.0.1/32")}
	history := keymgr.ClaimsOf(nodes)
	before := makePlan(c, own, f, nodes)
	more := slices.Clone(nodes)
	more[50].PodCIDRs = append(slices.Clone(more[50].PodCIDRs), netip.MustParsePrefix("10.254.0.1/32"))
	after := makePlan(c, own, f, more)
	if len(after.tunnel.Peers) != 100 || len(after.problems) != 0 {
		b.Fatalf("%d peers, problems %v", len(after.tunnel.Peers), after.problems)
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"resolve", func() { keymgr.Resolve(self(c, own.Public(), f), history, keymgr.Snapshot{Nodes: more}) }},
		{"plan", func() { makePlan(c, own, f, more) }},
		{"difference", func() { withoutRemoved(before.steering, after.steering) }},
		{"tunnel", func() { tunnel.Diff(before.tunnel, after.tunnel) }},
		{"claims", func() { keymgr.ClaimsOf(more) }},
	} {
		b.Run("step="+step.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step.do()
			}
		})
	}
}

// BenchmarkPlan is what a cluster whose nodes have a pod CIDR of each family comes to.
func BenchmarkPlan(b *testing.B) {
	for _, nodes := range []int{10, 500} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			c := config()
			c.ClusterCIDRs = pfx("10.240.0.0/12", "fd00::/16")
			c.NodeCIDRs = nil
			var all []keymgr.Node
			for i := range nodes {
				high, low := byte(i>>8), byte(i)
				n := keymgr.Node{Name: fmt.Sprintf("peer-%03d", i), PublicKey: wgkey.PublicKey{low, high, 7}}
				n.NodeIPs = []netip.Addr{netip.AddrFrom4([4]byte{198, 18, high, low}), netip.AddrFrom16([16]byte{0x20, 1, 14: high, 15: low})}
				n.Endpoint = netip.AddrPortFrom(n.NodeIPs[0], 51871)
				n.PodCIDRs = []netip.Prefix{
					netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 250 + high, low, 0}), 24),
					netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 4: high, 5: low}), 48),
				}
				all = append(all, n)
			}
			f := facts{uplinks: []steering.Device{{Name: "eth0", MTU: 1500}}}
			b.ReportAllocs()
			for b.Loop() {
				if p := makePlan(c, wgkey.PrivateKey{}, f, all); len(p.tunnel.Peers) != nodes || len(p.problems) != 0 {
					b.Fatalf("%d peers, problems %v", len(p.tunnel.Peers), p.problems)
				}
			}
		})
	}
}
