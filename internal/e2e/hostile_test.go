package e2e_test

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestHostileRoutes: whatever the routes of node-b say, what it has decrypted neither
// leaves in plaintext nor goes round: it is dropped by name. By a device that is not
// steered it leaves, unless those of pods are named: that is the control.
func TestHostileRoutes(t *testing.T) {
	for _, names := range [][]string{nil, {"cni0"}} {
		t.Run(fmt.Sprintf("pods' devices %v", names), func(t *testing.T) {
			c := bare(t, checked, netlab.Options{})
			if w := c.watch(func() { c.mustFlow(c.Flows()...) }); w.PlaintextPod.Frames == 0 {
				t.Fatalf("the capture sees no plaintext without a data plane: %+v", w)
			}
			c.podDevices = names
			c.startAll()
			b := c.node("node-b")
			c.plugInto(b)
			gateway, err := c.Find("gateway")
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.Families {
				for _, h := range hostileRoutes(b, i, gateway.IPs[i]) {
					t.Run(fmt.Sprintf("%s/IPv%d", h.name, c.Families[i]), func(t *testing.T) { c.withstands(t, b, i, h) })
				}
			}
			c.encrypted(func() { c.mustFlow(c.Flows()...) })
		})
	}
}

// hostile are routes for what comes out of the tunnel.
type hostile struct {
	name     string
	do, undo [][]string
	hook     string // that drops it; "" where nothing does but podDevices
}

const another = "the pod by another device"

func hostileRoutes(b *netlab.Node, i int, gateway netip.Addr) []hostile {
	pod, via := b.Pods[0].IPs[i].String(), gateway.String()
	ip := map[bool]string{true: "-4", false: "-6"}[gateway.Is4()]
	fromTunnel := [][]string{{ip, "rule", "add", "iif", b.Interface, "lookup", "100"}}
	back := [][]string{{ip, "rule", "delete", "iif", b.Interface, "lookup", "100"}, {ip, "route", "flush", "table", "100"}}
	one := [][]string{{ip, "route", "delete", pod}}
	all := func(by ...string) [][]string {
		return append(fromTunnel[:1:1], append([]string{ip, "route", "add", "default", "table", "100"}, by...))
	}
	elsewhere := []string{"via", beyond[i], "dev", "eth1", "onlink"}
	return []hostile{
		{"the pod by the uplink", [][]string{{ip, "route", "add", pod, "via", via, "dev", "eth0"}}, one, "egress"},
		{"the pod by the tunnel device", [][]string{{ip, "route", "add", pod, "dev", b.Interface}}, one, "tunnel_egress"},
		{another, [][]string{append([]string{ip, "route", "add", pod}, elsewhere...)}, one, ""},
		{"all from the tunnel by the uplink", all("via", via, "dev", "eth0"), back, "egress"},
		{"all from the tunnel back into it", all("dev", b.Interface), back, "tunnel_egress"},
	}
}

// beyond is the neighbour behind a device of plugInto, IPv4 and IPv6.
var beyond = []string{"198.18.0.9", "fe80::99"}

// plugInto gives a node a device to the underlay that nothing makes an uplink, with a
// neighbour behind it.
func (c *cluster) plugInto(n *netlab.Node) {
	c.t.Helper()
	if err := c.PlugIn(n, "eth1"); err != nil {
		c.t.Fatal(err)
	}
	c.ip(n, "link", "set", "eth1", "up")
	for _, ip := range beyond {
		c.ip(n, "neighbour", "replace", ip, "lladdr", "02:00:00:00:00:99", "dev", "eth1", "nud", "permanent")
	}
}

// withstands has routes in place, sends, and takes them away.
func (c *cluster) withstands(t *testing.T, b *netlab.Node, i int, h hostile) {
	flow := netlab.Flow{From: "node-a/pod-1", To: "node-b/pod-1", Protocol: netlab.UDP, Family: c.Families[i]}
	hook := h.hook
	if len(c.podDevices) > 0 {
		hook = "unsteered_egress" // ahead of the programs
	}
	before := c.status("node-b")
	for _, args := range h.do {
		c.ip(b, args...)
	}
	if w := c.watch(func() { c.mustNotFlow(flow) }); (w.PlaintextPod.Frames > 0) != (hook == "") {
		t.Errorf("plaintext on the wire: %+v, dropped at %q", w, hook)
	}
	after := c.status("node-b")
	if hook != "" {
		after = c.await("node-b", "dropped", func(s dataplane.Status) bool {
			return counted(s, hook, "drop", "misrouted") > counted(before, hook, "drop", "misrouted")
		})
	}
	if round := after.Tunnel.FromTUN.Packets - before.Tunnel.FromTUN.Packets; round > 10 {
		t.Errorf("%d packets went into the tunnel again", round)
	}
	for _, args := range h.undo {
		c.ip(b, args...)
	}
	c.encrypted(func() { c.mustFlow(flow) })
}

// TestPodDevicesReloaded: a running node takes podDevices up at a reload, and lets go of
// them at the next.
func TestPodDevicesReloaded(t *testing.T) {
	c := up(t, netlab.Options{})
	b := c.node("node-b")
	c.plugInto(b)
	for _, step := range []struct {
		names []string
		want  string
	}{{nil, "pass to_local"}, {[]string{"cni0"}, "drop misrouted"}, {nil, "pass to_local"}} {
		c.podDevices = step.names
		c.configure("node-b")
		if err := c.daemons["node-b"].Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		gateway, err := c.Find("gateway")
		if err != nil {
			t.Fatal(err)
		}
		for i, pod := range b.Pods[0].IPs {
			routes := hostileRoutes(b, i, gateway.IPs[i])
			h := routes[slices.IndexFunc(routes, func(h hostile) bool { return h.name == another })]
			c.ip(b, h.do[0]...)
			c.until(fmt.Sprintf("with podDevices %v: %s", step.names, step.want), func() bool {
				e := c.explain("node-b", c.node("node-a").Pods[0].IPs[i], pod)
				return e.Verdict+" "+e.Reason == step.want
			})
			c.ip(b, h.undo[0]...)
		}
		c.encrypted(func() { c.mustFlow(c.Flows()...) })
	}
}
