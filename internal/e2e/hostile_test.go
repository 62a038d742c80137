package e2e_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestHostileRoutes: whatever the routes of node-b say, what it has decrypted neither
// leaves in plaintext nor goes round: it is dropped by name.
func TestHostileRoutes(t *testing.T) {
	c := up(t, netlab.Options{})
	b := c.node("node-b")
	gateway, err := c.Find("gateway")
	if err != nil {
		t.Fatal(err)
	}
	for i, family := range c.Families {
		pod := b.Pods[0].IPs[i].String()
		via := gateway.IPs[i].String()
		ip := map[int]string{4: "-4", 6: "-6"}[family]
		flow := netlab.Flow{From: "node-a/pod-1", To: "node-b/pod-1", Protocol: netlab.UDP, Family: family}
		for _, hostile := range []struct {
			name        string
			do, undo    [][]string
			hook        string
			whereItWent string
		}{
			{"the pod by the uplink",
				[][]string{{ip, "route", "add", pod, "via", via, "dev", "eth0"}},
				[][]string{{ip, "route", "delete", pod}}, "egress", "misrouted"},
			{"the pod by the tunnel device",
				[][]string{{ip, "route", "add", pod, "dev", b.Interface}},
				[][]string{{ip, "route", "delete", pod}}, "tunnel_egress", "misrouted"},
			{"all from the tunnel by the uplink",
				[][]string{{ip, "rule", "add", "iif", b.Interface, "lookup", "100"}, {ip, "route", "add", "default", "via", via, "dev", "eth0", "table", "100"}},
				[][]string{{ip, "rule", "delete", "iif", b.Interface, "lookup", "100"}, {ip, "route", "flush", "table", "100"}}, "egress", "misrouted"},
			{"all from the tunnel back into it",
				[][]string{{ip, "rule", "add", "iif", b.Interface, "lookup", "100"}, {ip, "route", "add", "default", "dev", b.Interface, "table", "100"}},
				[][]string{{ip, "rule", "delete", "iif", b.Interface, "lookup", "100"}, {ip, "route", "flush", "table", "100"}}, "tunnel_egress", "misrouted"},
		} {
			t.Run(hostile.name+"/IPv"+ip[1:], func(t *testing.T) {
				before := c.status("node-b")
				for _, args := range hostile.do {
					c.ip(b, args...)
				}
				c.encrypted(func() { c.mustNotFlow(flow) })
				after := c.await("node-b", "dropped", func(s dataplane.Status) bool {
					return counted(s, hostile.hook, "drop", hostile.whereItWent) > counted(before, hostile.hook, "drop", hostile.whereItWent)
				})
				if round := after.Tunnel.FromTUN.Packets - before.Tunnel.FromTUN.Packets; round > 10 {
					t.Errorf("%d packets went into the tunnel again", round)
				}
				for _, args := range hostile.undo {
					c.ip(b, args...)
				}
				c.encrypted(func() { c.mustFlow(flow) })
			})
		}
	}
}
