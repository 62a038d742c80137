package steering_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/wgsteer/wgsteer/steering"
)

// TestHostileRoutesByTheBackstop: with the guard on the tunnel's ingress gone, what was
// decrypted still neither leaves in plaintext nor goes round, whatever the routes say.
// The control is the backstop there gone, too.
func TestHostileRoutesByTheBackstop(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		if byClsact(o) {
			return // there the guard is the only one
		}
		s := start(t, o)
		tun, index := openTUN(t, o.Name)
		apply(t, s, steered(index))
		detachLink(t, filepath.Join(o.BPFFS, o.Name, "links", fmt.Sprintf("%d-ingress-guard", index)))
		decrypted := func(source, to netip.Addr) {
			t.Helper()
			if _, err := tun.Write(datagram(source, to, t.Name())); err != nil {
				t.Fatal(err)
			}
		}
		byUplink := map[bool]string{true: "192.0.2.2", false: "2001:db8::2"}
		for _, test := range []struct {
			name       string
			source, to netip.Addr
			hostile    string // where a route of the destination leads: "uplink", "tunnel"; "" as it is
			hook       string
		}{
			{"to the world", peerPod, outside, "", "tunnel_ingress"},
			{"to a peer's node, IPv6", peerPod6, peerNode6, "", "tunnel_ingress"},
			{"to an unknown pod by the uplink", peerPod, unknownPod, "uplink", "tunnel_ingress"},
			{"to a peer's pod by the uplink, IPv6", peerPod6, peerPod6, "uplink", "tunnel_ingress"},
			{"to a peer's pod, back into the tunnel", peerPod, peerPod, "tunnel", "tunnel_ingress"},
			{"to a pod by the uplink", peerPod, podAddr, "uplink", "egress"},
			{"to a pod by the uplink, IPv6", peerPod6, podAddr6, "uplink", "egress"},
			{"to a pod, back into the tunnel", peerPod, podAddr, "tunnel", "tunnel_egress"},
			{"to a pod, back into the tunnel, IPv6", peerPod6, podAddr6, "tunnel", "tunnel_egress"},
		} {
			t.Run(test.name, func(t *testing.T) {
				dst := netip.PrefixFrom(test.to, test.to.BitLen()).String()
				switch test.hostile {
				case "uplink":
					defer removeRoute(t, addRoute(t, dst, byUplink[test.to.Is4()]))
				case "tunnel":
					defer removeRoute(t, addRouteInto(t, dst, index))
				}
				before := s.Status()
				decrypted(test.source, test.to)
				grew(t, s, before, test.hook, "drop", "misrouted")
			})
		}
		plain := listen(t, n.world, outside)
		another := netip.MustParseAddr("10.244.2.9") // the world has peerPod itself, and takes nothing from there
		inside(t, n.world, func() { addRoute(t, "10.244.2.0/24", "192.0.2.1") })
		decrypted(another, outside)
		nothingCame(t, plain)
		deleteClsact(t, o.Name)
		decrypted(another, outside)
		arrives(t, plain, t.Name())
	})
}

// addRouteInto is a route by a device alone.
func addRouteInto(t *testing.T, dst string, device int) *netlink.Route {
	t.Helper()
	to, err := netlink.ParseIPNet(dst)
	if err != nil {
		t.Fatal(err)
	}
	r := &netlink.Route{Dst: to, LinkIndex: device, Scope: netlink.SCOPE_LINK}
	if err := netlink.RouteAdd(r); err != nil {
		t.Fatalf("add route %s by device %d: %v", dst, device, err)
	}
	return r
}
