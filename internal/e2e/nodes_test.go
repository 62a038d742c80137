package e2e_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestUnknownNodeByEachLayer: a node-b without a record, whose address nodeCIDRs hold,
// gets nothing of node-a's pods in plaintext, whichever layer is left. No route is one.
func TestUnknownNodeByEachLayer(t *testing.T) {
	for _, layer := range []alone{
		{"guard", nil, []func(*scene){(*scene).deleteClsact, (*scene).flushRoutes, (*scene).deleteTable}, (*scene).detachGuards},
		{"backstop", nil, []func(*scene){(*scene).detachAll, (*scene).flushRoutes, (*scene).deleteTable}, (*scene).deleteClsact},
		{"nftables", (*scene).nodeByNewUplink, []func(*scene){(*scene).detachAll, (*scene).deleteClsact, (*scene).flushRoutes}, (*scene).deleteTable},
	} {
		t.Run(layer.name, func(t *testing.T) {
			s := newScene(t, light, tcx)
			s.knowNodes()
			s.configure("node-a")
			if out, err := s.wgsteer("node-a", "guard"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			layer.keeps(s, func(i int) uint64 {
				return s.watch(func() { s.knock(s.node("node-b").IPs[i], 50) }).PlaintextPodNode.Frames
			})
		})
	}
}

// nodeByNewUplink has a device without programs lead to node-b's own address.
func (s *scene) nodeByNewUplink() {
	s.newUplink()
	for i, ip := range s.node("node-b").IPs {
		via := []string{"198.18.0.2", "2001:db8:0:2::2"}[i]
		s.ip(s.a(), "route", "add", fmt.Sprintf("%s/%d", ip, ip.BitLen()), "via", via, "dev", "eth1")
	}
}

// TestNodeCIDRsReloaded: a running node takes nodeCIDRs up at a reload, and lets go of
// them at the next.
func TestNodeCIDRsReloaded(t *testing.T) {
	c := bare(t, checked, netlab.Options{})
	c.start("node-a")
	c.await("node-a", "ready", func(s dataplane.Status) bool { return s.Ready })
	pod, node := c.node("node-a").Pods[0].IPs, c.node("node-b").IPs
	for _, step := range []struct {
		change func()
		want   string
	}{
		{func() {}, "pass not_pod_traffic"},
		{c.knowNodes, "drop unknown_node"},
		{func() { c.nodeCIDRs = nil }, "pass not_pod_traffic"},
	} {
		step.change()
		c.configure("node-a")
		if err := c.daemons["node-a"].Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for i := range pod {
			c.until(fmt.Sprintf("%v to %v: %s", pod[i], node[i], step.want), func() bool {
				e := c.explain("node-a", pod[i], node[i])
				return e.Verdict+" "+e.Reason == step.want
			})
		}
	}
}
