package e2e_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/steering"
)

// TestOverlayBesideIt: a VXLAN overlay started beside wgsteer that takes over the
// pods' routes. Pods go on talking, encrypted; the control is that overlay alone.
func TestOverlayBesideIt(t *testing.T) {
	c := up(t, netlab.Options{Families: []int{4}})
	a, b := c.node("node-a"), c.node("node-b")
	ways := []struct{ from, to *netlab.Node }{{a, b}, {b, a}}
	flow := netlab.Flow{From: "node-a/pod-1", To: "node-b/pod-1", Protocol: netlab.TCP, Family: 4}
	w := c.encrypted(func() {
		for i, way := range ways {
			own, other := []string{"198.18.0.1", "198.18.0.2"}[i], []string{"198.18.0.2", "198.18.0.1"}[i]
			c.ip(way.from, "link", "add", "vx0", "type", "vxlan", "id", "77", "dstport", "4789",
				"local", way.from.IPs[0].String(), "remote", way.to.IPs[0].String())
			c.ip(way.from, "address", "add", own+"/30", "dev", "vx0")
			c.ip(way.from, "link", "set", "vx0", "up")
			c.ip(way.from, "route", "replace", way.to.PodCIDRs[0].String(), "via", other, "dev", "vx0")
		}
		for _, n := range c.Nodes {
			c.await(n.Name, "vx0 steered", func(s dataplane.Status) bool {
				return slices.ContainsFunc(s.Steering.Devices, func(a steering.Attachment) bool { return a.Name == "vx0" && a.Error == "" })
			})
		}
		c.mustFlow(flow)
	})
	if w.WireGuard.Frames == 0 {
		t.Errorf("no WireGuard on the wire: %+v", w)
	}
	for _, n := range c.Nodes {
		c.kill(n.Name)
		if _, err := c.wgsteer(n.Name, "teardown"); err != nil {
			t.Fatal(err)
		}
	}
	if w := c.watch(func() { c.mustFlow(flow) }); w.PlaintextPod.Frames == 0 {
		t.Errorf("the overlay alone carries no plaintext, so nothing was tested: %+v", w)
	}
}

// TestEncapsulatedOnTheUplink: someone on node-a sends a pod's packet to node-b
// inside of VXLAN, past any overlay device. It does not leave node-a; where
// node-a lets it out, it does not enter node-b.
func TestEncapsulatedOnTheUplink(t *testing.T) {
	c := up(t, netlab.Options{})
	inner := vxlanOf(t, c.node("node-a").Pods[0].IPs[0], c.node("node-b").Pods[0].IPs[0])
	send := func(at, hook string) netlab.Wire {
		refused := func() uint64 { return counted(c.status(at), hook, "drop", "encapsulated_plaintext") }
		before := refused()
		return c.watch(func() {
			for _, to := range c.node("node-b").IPs {
				for _, port := range []uint16{4789, 8472} {
					conn, err := c.node("node-a").Dial(t.Context(), "udp", netip.AddrPortFrom(to, port))
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					_, _ = conn.Write(inner) // a drop on the way out may be its result
				}
			}
			c.until("4 drops on the "+hook+" of "+at, func() bool { return refused() >= before+4 })
		})
	}
	if w := send("node-a", "egress"); w.PlaintextPod.Frames != 0 {
		t.Errorf("plaintext has left node-a: %+v", w)
	}
	c.kill("node-a")
	if _, err := c.wgsteer("node-a", "teardown"); err != nil {
		t.Fatal(err)
	}
	if w := send("node-b", "ingress"); w.PlaintextPod.Frames == 0 {
		t.Errorf("node-a sent no plaintext, so nothing was tested: %+v", w)
	}
}

// vxlanOf is a VXLAN header and a frame with a datagram between two addresses.
func vxlanOf(t *testing.T, from, to netip.Addr) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	udp := &layers.UDP{SrcPort: 1111, DstPort: 2222}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.VXLAN{ValidIDFlag: true, VNI: 77},
		&layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4},
		ip, udp, gopacket.Payload("a pod's secret"))
	if err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// ip runs ip(8) on a node.
func (c *cluster) ip(n *netlab.Node, args ...string) {
	c.t.Helper()
	if out, err := n.Command(c.t.Context(), "ip", args...).CombinedOutput(); err != nil {
		c.t.Fatalf("ip %v on %s: %v\n%s", args, n.Name, err, out)
	}
}
