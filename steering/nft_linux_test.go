package steering_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/steering"
)

const nftables = "inet wgsteer-wgt0" // the table of tunnel device wgt0

// nftTool calls nft(8), whose output it returns.
func nftTool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(privtest.Tool(t, "nft"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// nftNode is a node with a tunnel, and nobody who follows its devices.
func nftNode(t *testing.T, strict bool) (n node, o steering.Options, s *steering.Steering) {
	t.Helper()
	o = steering.Options{BPFFS: privtest.BPFFS(t), Name: "wgt0"}
	n = newNode(t)
	t.Cleanup(func() {
		if _, err := steering.Teardown(o); err != nil {
			t.Errorf("teardown: %v", err)
		}
	})
	s = start(t, o)
	_, index := openTUN(t, o.Name)
	state := steered(index)
	state.Strict = strict
	apply(t, s, state)
	return n, o, s
}

// plugIn adds a device that the programs are not on, to a network that has
// addresses of everyone, and routes there.
func plugIn(t *testing.T) netns.NsHandle {
	t.Helper()
	far := newNamespace(t)
	veth(t, "late0", far, "203.0.113.1/24", "2001:db8:7::1/64")
	for _, a := range []netip.Addr{peerPod, unknownPod, peerNode, outside} {
		addRoute(t, a.String()+"/32", "203.0.113.2")
	}
	for _, a := range []netip.Addr{peerPod6, peerNode6} {
		addRoute(t, a.String()+"/128", "2001:db8:7::2")
	}
	inside(t, far, func() {
		for _, a := range []string{"203.0.113.2/24", "2001:db8:7::2/64"} {
			addAddr(t, "late0", a)
		}
		for _, a := range []netip.Addr{peerPod, unknownPod, peerNode, outside, peerPod6, peerNode6} {
			addAddr(t, "late0", netip.PrefixFrom(a, a.BitLen()).String())
		}
		for dst, gateway := range map[string]string{"10.244.1.0/24": "203.0.113.1", "192.0.2.1/32": "203.0.113.1", "fd00:244:1::/64": "2001:db8:7::1", "2001:db8::1/128": "2001:db8:7::1"} {
			addRoute(t, dst, gateway)
		}
	})
	return far
}

// TestUnsteeredDevice: on a device that appears while nobody looks, the table
// alone refuses what the programs would, and nothing else.
func TestUnsteeredDevice(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	for _, strict := range []bool{true, false} {
		t.Run(fmt.Sprintf("strict %v", strict), func(t *testing.T) {
			n, o, s := nftNode(t, strict)
			far := plugIn(t)
			refused := map[bool]string{true: "drop", false: "pass"}[strict]
			for _, test := range []struct {
				name     string
				from, at netns.NsHandle
				source   netip.Addr
				to       netip.Addr
				hook     string // "": it passes
			}{
				{"pod to peer's pod", n.pod, far, podAddr, peerPod, "unsteered_egress"},
				{"pod to peer's pod, IPv6", n.pod, far, podAddr6, peerPod6, "unsteered_egress"},
				{"pod to unknown pod", n.pod, far, podAddr, unknownPod, "unsteered_egress"},
				{"pod to peer's node", n.pod, far, podAddr, peerNode, "unsteered_egress"},
				{"pod to peer's node, IPv6", n.pod, far, podAddr6, peerNode6, "unsteered_egress"},
				{"node to peer's pod", n.host, far, netip.Addr{}, peerPod, "unsteered_egress"},
				{"node to peer's pod, IPv6", n.host, far, netip.Addr{}, peerPod6, "unsteered_egress"},
				{"peer's pod to pod", far, n.pod, peerPod, podAddr, "unsteered_ingress"},
				{"peer's pod to pod, IPv6", far, n.pod, peerPod6, podAddr6, "unsteered_ingress"},
				{"peer's pod to node", far, n.host, peerPod, nodeAddr, "unsteered_ingress"},
				{"unknown pod to pod", far, n.pod, unknownPod, podAddr, "unsteered_ingress"},
				{"peer's node to pod", far, n.pod, peerNode, podAddr, "unsteered_ingress"},
				{"peer's node to pod, IPv6", far, n.pod, peerNode6, podAddr6, "unsteered_ingress"},

				{"pod to the world", n.pod, far, podAddr, outside, ""},
				{"node to the world", n.host, far, netip.Addr{}, outside, ""},
				{"node to peer's node", n.host, far, netip.Addr{}, peerNode, ""},
				{"node to peer's node, IPv6", n.host, far, netip.Addr{}, peerNode6, ""},
				{"peer's node to node", far, n.host, peerNode, nodeAddr, ""},
				{"peer's node to node, IPv6", far, n.host, peerNode6, nodeAddr6, ""},
				{"the world to pod", far, n.pod, outside, podAddr, ""},
				{"node to pod", n.host, n.pod, netip.Addr{}, podAddr, ""},
				{"node to pod, IPv6", n.host, n.pod, netip.Addr{}, podAddr6, ""},
				{"pod to node", n.pod, n.host, podAddr, nodeAddr, ""},
				{"node to itself", n.host, n.host, nodeAddr, nodeAddr, ""},
			} {
				t.Run(test.name, func(t *testing.T) {
					conn := listen(t, test.at, test.to)
					before := s.Status()
					// A process of this node itself is told of the drop.
					if err := trySend(t, test.from, test.source, test.to, t.Name()); err != nil && !(test.from == n.host && errors.Is(err, unix.EPERM)) {
						t.Fatal(err)
					}
					if test.hook != "" {
						grew(t, s, before, test.hook, refused, map[string]string{"unsteered_egress": "not_steered", "unsteered_ingress": "plaintext_in"}[test.hook])
					}
					if test.hook != "" && strict {
						nothingCame(t, conn)
						return
					}
					arrives(t, conn, t.Name())
					if now := unsteered(s.Status()); test.hook == "" && now != unsteered(before) {
						t.Errorf("it counted as not steered: %+v", s.Status().Verdicts)
					}
				})
			}
			// Without the table it would have arrived.
			conn := listen(t, far, peerPod)
			if _, err := steering.Teardown(closed(t, s, o)); err != nil {
				t.Fatal(err)
			}
			send(t, n.pod, podAddr, peerPod, "control")
			arrives(t, conn, "control")
		})
	}
}

func closed(t *testing.T, s *steering.Steering, o steering.Options) steering.Options {
	t.Helper()
	stop(t, s)
	return o
}

// unsteered is how many packets the table refused, or would have.
func unsteered(s steering.Status) uint64 {
	var all uint64
	for _, v := range s.Verdicts {
		if strings.HasPrefix(v.Hook, "unsteered") {
			all += v.Packets
		}
	}
	return all
}

// TestNftLetsPass: what belongs to a node's own life is not the table's business.
func TestNftLetsPass(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	n, o, s := nftNode(t, true)
	other := newNamespace(t) // a second pod
	veth(t, "pod1", other)
	addAddr(t, "pod1", "10.244.1.1/32")
	route := &netlink.Route{LinkIndex: byName(t, "pod1").Attrs().Index, Dst: netlink.NewIPNet([]byte{10, 244, 1, 6})}
	if err := netlink.RouteAdd(route); err != nil {
		t.Fatal(err)
	}
	otherPod := netip.MustParseAddr("10.244.1.6")
	inside(t, other, func() {
		addAddr(t, "pod1", "10.244.1.6/32")
		link := netlink.Route{LinkIndex: byName(t, "pod1").Attrs().Index, Dst: netlink.NewIPNet([]byte{10, 244, 1, 1}), Scope: netlink.SCOPE_LINK}
		if err := netlink.RouteAdd(&link); err != nil {
			t.Errorf("add a route: %v", err)
		}
		addRoute(t, "0.0.0.0/0", "10.244.1.1")
	})
	inside(t, n.pod, func() { addRoute(t, "10.244.1.6/32", "10.244.1.1") })
	nftTool(t, `table inet services {
		chain before { type nat hook prerouting priority dstnat; policy accept;
			ip daddr 10.96.0.1 dnat ip to 10.244.1.6
			ip daddr 10.96.0.2 dnat ip to 10.244.2.7
		}
		chain after { type nat hook postrouting priority srcnat; policy accept;
			ip saddr 10.244.1.5 ip daddr 192.0.2.2 masquerade
		}
	}`)
	foreign := nftTool(t, "list table inet services")

	atOther := listen(t, other, otherPod)
	for name, to := range map[string]string{"pod to pod": "10.244.1.6", "pod to Service to pod": "10.96.0.1"} {
		send(t, n.pod, podAddr, netip.MustParseAddr(to), name)
		arrives(t, atOther, name)
	}
	before := s.Status()
	send(t, n.pod, podAddr, netip.MustParseAddr("10.96.0.2"), "pod to Service to peer's pod")
	grew(t, s, before, "tunnel_egress", "encrypt", "to_remote_pod")
	atNode := listen(t, n.world, peerNode)
	send(t, n.pod, podAddr, peerNode, "masqueraded") // the node's traffic by the time it leaves
	arrives(t, atNode, "masqueraded")
	if got := unsteered(s.Status()); got != 0 {
		t.Errorf("%d packets counted as not steered: %+v", got, s.Status().Verdicts)
	}
	if _, err := steering.Teardown(closed(t, s, o)); err != nil {
		t.Fatal(err)
	}
	if after := nftTool(t, "list table inet services"); after != foreign {
		t.Errorf("another's table before:\n%s\nand after:\n%s", foreign, after)
	}
}
