package kubee2e_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// permissive are values of the chart for a cluster that runs.
const permissive = values + `
encryption: {strictMode: {egress: {enabled: false}, ingress: {enabled: false}}}
`

// TestEnable switches encryption on in a running cluster as docs/kubernetes.md says: a
// rolling start in permissive mode, then strict. Streams between pods that were there
// before live through all of it.
func TestEnable(t *testing.T) {
	c := up(t, netlab.Options{Nodes: 3})
	names := []string{"node-a", "node-b", "node-c"}
	k := c.knocks()
	k.control(names...)
	streams := []*stream{c.stream("node-a", "node-c", 4), c.stream("node-c", "node-b", 6)}
	going := func() {
		for _, s := range streams {
			s.goesOn(c)
		}
	}
	going()
	for _, n := range names {
		c.api.CreateNode(t, n, texts(c.node(n).IPs), texts(c.node(n).PodCIDRs))
	}
	c.install(permissive)
	for i, n := range names {
		c.startPod(n)
		c.joined(names[:i+1]...)
		going()
	}
	// All have a key: nothing that strict would drop is left.
	before := map[string]uint64{}
	for _, n := range names {
		s := c.status(n)
		before[n] = s.Steering.Plaintext.Packets
		if s.Policy != dataplane.Permissive || before[n] == 0 {
			t.Errorf("%s: policy %s, and %d packets in plaintext so far", n, s.Policy, before[n])
		}
	}
	c.encrypted(func() { k.once(); going(); c.mustFlow(names...) })
	for _, n := range names {
		if now := c.status(n).Steering.Plaintext; now.Packets != before[n] {
			t.Errorf("%s: packets in plaintext, of which there were %d: %+v", n, before[n], now)
		}
	}
	c.install(values)
	for _, n := range names {
		c.stopPod(n)
		c.startPod(n)
		c.joined(names...)
		c.await(n, "strict", func(s dataplane.Status) bool { return s.Policy == dataplane.Strict })
		going()
	}
	c.encrypted(func() { k.once(); going(); c.mustFlow(names...) })
	for _, s := range streams {
		t.Logf("%s: %d blocks", s.name, s.blocks.Load())
	}
}
