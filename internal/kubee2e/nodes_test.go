package kubee2e_test

import (
	"net/netip"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// moved are the addresses that node-c comes back with.
var moved = []netip.Addr{netip.MustParseAddr("192.0.2.103"), netip.MustParseAddr("2001:db8:0:1::67")}

// TestNodesComeAndGo: nodes join, are drained and deleted, come back with other
// addresses, and swap their pods' prefixes. What pods send meanwhile is not on the wire
// in plaintext.
func TestNodesComeAndGo(t *testing.T) {
	c, k := encryptedCluster(t)
	all, two := []string{"node-a", "node-b", "node-c"}, []string{"node-a", "node-b"}
	c.expect("node-c", moved)
	c.encrypted(func() {
		c.join(k, "node-c")
		c.joined(all...)
		c.mustFlow(all...)

		k.drain("node-c")
		c.stopPod("node-c")
		c.api.DeleteNode(t, "node-c")
		c.joined(two...)
		c.mustFlow(two...)

		c.move("node-c", moved...)
		c.join(k, "node-c")
		c.joined(all...)
		c.mustFlow(all...)

		for _, n := range two {
			c.api.DeleteNode(t, n)
		}
		c.swap("node-a", "node-b")
		for _, n := range two {
			c.register(n)
			c.owned(n) // before the others, whose view it is, can be right
		}
		c.joined(all...)
		for _, n := range two {
			c.await(n, "its new prefixes", func(s dataplane.Status) bool { return len(s.PodCIDRs) == 2 && s.PodCIDRs[0] == c.node(n).PodCIDRs[0] })
		}
		c.mustFlow(all...)
	})
}

// encryptedCluster is one of three nodes of which two have joined, after a look at the
// wire without wgsteer.
func encryptedCluster(t *testing.T) (*cluster, *knocks) {
	t.Helper()
	c := up(t, netlab.Options{Nodes: 3})
	two := []string{"node-a", "node-b"}
	k := c.knocks()
	k.unencrypted(two...)
	for _, n := range two {
		k.drain(n)
	}
	c.install(values)
	for _, n := range two {
		c.join(k, n)
	}
	c.joined(two...)
	return c, k
}

// join registers a node, starts its pod, and has its own pods come when the start-up
// taint is off.
func (c *cluster) join(k *knocks, name string) {
	c.t.Helper()
	c.register(name)
	c.startPod(name)
	c.untainted(name)
	k.from(name)
}
