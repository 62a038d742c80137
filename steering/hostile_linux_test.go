package steering_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

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
		inside(t, n.world, func() { addRoute(t, "10.244.2.0/24", "192.0.2.1") })
		for _, names := range [][]string{nil, {"pod0"}} {
			state := steered(index)
			state.PodDevices = names
			apply(t, s, state)
			t.Run(fmt.Sprintf("pods' devices %v", names), func(t *testing.T) {
				detachLink(t, filepath.Join(o.BPFFS, o.Name, "links", fmt.Sprintf("%d-ingress-guard", index)))
				hostileRoutes(t, n, o, s, tun, len(names) > 0)
			})
		}
	})
}

// hostileRoutes tries them, and in the end without the backstop. Where pods' devices
// are named, the table is ahead of the programs.
func hostileRoutes(t *testing.T, n node, o steering.Options, s *steering.Steering, tun *os.File, named bool) {
	index := byName(t, o.Name).Attrs().Index
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
			decrypted(t, tun, test.source, test.to)
			hook := test.hook
			if named && hook != "tunnel_ingress" {
				hook = "unsteered_egress"
			}
			grew(t, s, before, hook, "drop", "misrouted")
		})
	}
	plain := listen(t, n.world, outside)
	another := netip.MustParseAddr("10.244.2.9") // the world has peerPod itself, and takes nothing from there
	decrypted(t, tun, another, outside)
	nothingCame(t, plain)
	deleteClsact(t, o.Name)
	decrypted(t, tun, another, outside)
	arrives(t, plain, t.Name())
}

// decrypted is a datagram that comes out of the tunnel, with the test's name in it.
func decrypted(t *testing.T, tun *os.File, source, to netip.Addr) {
	t.Helper()
	if _, err := tun.Write(datagram(source, to, t.Name())); err != nil {
		t.Fatal(err)
	}
}

// TestPodDevices: a route that has this node's pods behind a device without programs
// gets nothing that was decrypted, where pods' devices are named. The controls are no
// names, and that device among them; pods behind theirs have everything.
func TestPodDevices(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		tun, index := openTUN(t, o.Name)
		hidden, hidden6 := netip.MustParseAddr("10.244.1.9"), netip.MustParseAddr("fd00:244:1::9")
		far := behindAnother(t, hidden, hidden6)
		for _, step := range []struct {
			name    string
			devices []string
			strict  bool
			verdict string // of what is for the hidden pod; "" none
		}{
			{"no names", nil, true, ""},
			{"permissive", []string{"pod0"}, false, "pass"},
			{"strict", []string{"pod0"}, true, "drop"},
			{"strict, the start of names", []string{"cali*", "po*"}, true, "drop"},
			{"strict, that one too", []string{"late*", "pod0"}, true, ""},
			{"strict, none of them", []string{"cali*"}, true, "drop"},
			{"no names again", nil, true, ""},
		} {
			state := steered(index)
			state.Strict, state.PodDevices = step.strict, step.devices
			apply(t, s, state)
			for _, way := range []struct {
				name       string
				at         netns.NsHandle
				source, to netip.Addr
				verdict    string
			}{
				{"peer's pod to hidden pod", far, peerPod, hidden, step.verdict},
				{"peer's pod to hidden pod, IPv6", far, peerPod6, hidden6, step.verdict},
				{"peer's node to hidden pod", far, peerNode, hidden, step.verdict},
				{"peer's pod to node", n.host, peerPod, nodeAddr, ""},
				{"peer's pod to pod", n.pod, peerPod, podAddr, map[bool]string{true: step.verdict}[step.name == "strict, none of them"]},
				{"peer's pod to pod, IPv6", n.pod, peerPod6, podAddr6, map[bool]string{true: step.verdict}[step.name == "strict, none of them"]},
			} {
				t.Run(step.name+"/"+way.name, func(t *testing.T) {
					conn := listen(t, way.at, way.to)
					before := s.Status()
					decrypted(t, tun, way.source, way.to)
					if way.verdict != "" {
						grew(t, s, before, "unsteered_egress", way.verdict, "misrouted")
					}
					if way.verdict == "drop" {
						nothingCame(t, conn)
						return
					}
					arrives(t, conn, t.Name())
					if now := s.Status(); way.verdict == "" && counted(now, "unsteered_egress", "drop", "misrouted") != counted(before, "unsteered_egress", "drop", "misrouted") {
						t.Errorf("it was counted as misrouted: %+v", now.Verdicts)
					}
				})
			}
			t.Run(step.name+"/node to hidden pod", func(t *testing.T) { // not out of the tunnel
				conn := listen(t, far, hidden)
				send(t, n.host, netip.Addr{}, hidden, t.Name())
				arrives(t, conn, t.Name())
			})
		}
	})
}

// behindAnother has routes lead to pods of this node by a device without programs.
func behindAnother(t *testing.T, pod, pod6 netip.Addr) netns.NsHandle {
	t.Helper()
	far := newNamespace(t)
	veth(t, "late0", far, "203.0.113.1/24", "2001:db8:7::1/64")
	inside(t, far, func() {
		for _, a := range []string{"203.0.113.2/24", "2001:db8:7::2/64", pod.String() + "/32", pod6.String() + "/128"} {
			addAddr(t, "late0", a)
		}
		addRoute(t, "0.0.0.0/0", "203.0.113.1")
		addRoute(t, "::/0", "2001:db8:7::1")
	})
	addRoute(t, pod.String()+"/32", "203.0.113.2")
	addRoute(t, pod6.String()+"/128", "2001:db8:7::2")
	return far
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
