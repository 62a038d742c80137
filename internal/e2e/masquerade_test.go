package e2e_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestMasqueradedPods: with ipMasq a pod's packets to a pod of another node come
// from its node's address, and go through the tunnel all the same; those to
// another node's address are the node's own then, and do not.
func TestMasqueradedPods(t *testing.T) {
	privtest.Tool(t, "iptables") // the plugins call it
	for _, cni := range netlab.CNIs() {
		if !cni.Masquerades() {
			continue
		}
		t.Run(string(cni), func(t *testing.T) {
			needs(t, cni)
			c := upWith(t, plain, netlab.Options{CNI: cni, Pods: 2})
			pod, node := c.find("node-a/pod-1"), c.find("node-a")
			for _, tt := range []struct {
				to        string
				seen      []netip.Addr
				encrypted bool
			}{
				{"node-a/pod-2", pod.IPs, false}, // stays on the node, as it is
				{"node-b/pod-1", node.IPs, true},
				{"node-b", node.IPs, false},
			} {
				for _, family := range c.Families {
					at := c.answer(c.find(tt.to), family)
					encrypted := func() bool {
						sent := c.status("node-a").Tunnel.FromTUN.Packets
						c.encrypted(func() {
							for _, network := range []string{"tcp", "udp"} {
								seen, err := ask(t.Context(), pod, fmt.Sprint(network, family), at)
								if err != nil || !slices.Contains(tt.seen, seen) {
									t.Errorf("%s by %s%d: taken for %s, %v; want one of %v", tt.to, network, family, seen, err, tt.seen)
								}
							}
						})
						return c.status("node-a").Tunnel.FromTUN.Packets > sent
					}
					got := encrypted()
					for again := 0; again < 2 && got && !tt.encrypted; again++ {
						got = encrypted() // the end of a connection before may have come late
					}
					if got != tt.encrypted {
						t.Errorf("to %s, IPv%d: encrypted %v, want %v", tt.to, family, got, tt.encrypted)
					}
				}
			}
			noDrops(t, "node-a", c.status("node-a").Steering)
		})
	}
}
