package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/wgsteer/wgsteer/keymgr"
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
	steps := map[string]func(){
		"resolve": func() {
			keymgr.Resolve(self(c, own.Public(), f), history, keymgr.Snapshot{Nodes: more})
		},
		"plan": func() { makePlan(c, own, f, more) },
	}
	after := makePlan(c, own, f, more)
	if len(after.tunnel.Peers) != 100 || len(after.problems) != 0 {
		b.Fatalf("%d peers, problems %v", len(after.tunnel.Peers), after.problems)
	}
	steps["step"] = func() { withoutRemoved(before.steering, after.steering) }
	steps["tunnel"] = func() { tunnel.Diff(before.tunnel, after.tunnel) }
	steps["claims"] = func() { keymgr.ClaimsOf(more) }
	for name, step := range steps {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}
