package steering_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/steering"
)

// byMechanism runs a test for each of the two ways to attach, with a node of its
// own, in a process of its own. On a kernel without tcx the first is clsact too,
// by steering's own choice.
func byMechanism(t *testing.T, test func(t *testing.T, n node, o steering.Options)) {
	if !privtest.Isolate(t) {
		return
	}
	for _, m := range []struct {
		name        string
		forceClsact bool
	}{{"tcx", false}, {"clsact", true}} {
		t.Run(m.name, func(t *testing.T) {
			o := steering.Options{BPFFS: privtest.BPFFS(t), Name: "wgt0", ForceClsact: m.forceClsact}
			n := newNode(t)
			t.Cleanup(func() {
				if _, err := steering.Teardown(o); err != nil {
					t.Errorf("teardown: %v", err)
				}
			})
			test(t, n, o)
		})
	}
}

// hasTCX tells whether the kernel has tcx (Linux 6.6); older ones do not know the
// query.
func hasTCX() bool {
	_, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXEgress})
	return err == nil
}

// byClsact tells which mechanism the options lead to on this kernel.
func byClsact(o steering.Options) bool { return o.ForceClsact || !hasTCX() }

func TestPackets(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		tun, index := openTUN(t, o.Name)
		apply(t, s, steered(index))
		for _, test := range []struct {
			name                  string
			from                  netns.NsHandle
			source, to            netip.Addr
			gateway               string // of a route that a CNI would have; "" none
			hook, verdict, reason string
		}{
			{"pod to peer's pod by our route", n.pod, podAddr, peerPod, "", "tunnel_egress", "encrypt", "to_remote_pod"},
			{"the same, IPv6", n.pod, podAddr6, peerPod6, "", "tunnel_egress", "encrypt", "to_remote_pod"},
			{"pod to peer's pod by the CNI's route", n.pod, podAddr, peerPod, "192.0.2.2", "egress", "encrypt", "to_remote_pod"},
			{"the same, IPv6", n.pod, podAddr6, peerPod6, "2001:db8::2", "egress", "encrypt", "to_remote_pod"},
			{"node to peer's pod by our route", n.host, netip.Addr{}, peerPod, "", "tunnel_egress", "encrypt", "to_remote_pod"},
			{"the same, IPv6", n.host, netip.Addr{}, peerPod6, "", "tunnel_egress", "encrypt", "to_remote_pod"},
			{"node to peer's pod by the CNI's route", n.host, netip.Addr{}, peerPod, "192.0.2.2", "egress", "encrypt", "to_remote_pod"},
			{"pod to peer's node", n.pod, podAddr, peerNode, "", "egress", "encrypt", "to_remote_node"},
			{"the same, IPv6", n.pod, podAddr6, peerNode6, "", "egress", "encrypt", "to_remote_node"},
			{"node to peer's node", n.host, netip.Addr{}, peerNode, "", "egress", "pass", "not_pod_traffic"},
			{"pod to unknown pod by the CNI's route", n.pod, podAddr, unknownPod, "192.0.2.2", "egress", "drop", "unknown_peer"},
			{"foreign source", n.pod, netip.MustParseAddr("198.51.100.7"), peerPod, "", "tunnel_egress", "drop", "foreign_source"},
		} {
			t.Run(test.name, func(t *testing.T) {
				plain := listen(t, n.world, test.to)
				if test.source.IsValid() && test.source != podAddr && test.source != podAddr6 {
					inside(t, n.pod, func() { addAddr(t, "eth0", test.source.String()+"/32") })
				}
				if test.gateway != "" {
					defer removeRoute(t, addRoute(t, netip.PrefixFrom(test.to, test.to.BitLen()).String(), test.gateway))
				}
				before := s.Status()
				send(t, test.from, test.source, test.to, t.Name())
				grew(t, s, before, test.hook, test.verdict, test.reason)
				switch test.verdict {
				case "encrypt":
					expect(t, tun, t.Name())
					nothingCame(t, plain)
				case "drop":
					nothingCame(t, plain)
				case "pass":
					arrives(t, plain, t.Name())
				}
			})
		}
		if peers := s.Status().Peers; len(peers) != 1 || peers[0].TxPackets != 9 {
			t.Errorf("9 packets went to the one peer; counted: %+v", peers)
		}
	})
}

// TestDecrypted has packets come out of the tunnel, to a pod and to the node.
func TestDecrypted(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		// The strictest reverse path filter that a host can have.
		write(t, "/proc/sys/net/ipv4/conf/all/rp_filter", "1")
		write(t, "/proc/sys/net/ipv4/conf/default/rp_filter", "1")
		s := start(t, o)
		tun, index := openTUN(t, o.Name)
		apply(t, s, steered(index))
		for _, test := range []struct {
			name       string
			at         netns.NsHandle
			source, to netip.Addr
			gateway    string
		}{
			{"peer's pod to pod", n.pod, peerPod, podAddr, ""},
			{"peer's pod to pod, the CNI routes back elsewhere", n.pod, peerPod, podAddr, "192.0.2.2"},
			{"peer's node to pod", n.pod, peerNode, podAddr, ""},
			{"peer's pod to node", n.host, peerPod, nodeAddr, ""},
			{"peer's pod to pod, IPv6", n.pod, peerPod6, podAddr6, ""},
			{"peer's pod to node, IPv6", n.host, peerPod6, nodeAddr6, "2001:db8::2"},
		} {
			t.Run(test.name, func(t *testing.T) {
				conn := listen(t, test.at, test.to)
				if test.gateway != "" {
					defer removeRoute(t, addRoute(t, netip.PrefixFrom(test.source, test.source.BitLen()).String(), test.gateway))
				}
				if _, err := tun.Write(datagram(test.source, test.to, t.Name())); err != nil {
					t.Fatal(err)
				}
				arrives(t, conn, t.Name())
			})
		}
		before := s.Status()
		if _, err := tun.Write(datagram(peerPod, unknownPod, "a loop")); err != nil {
			t.Fatal(err)
		}
		grew(t, s, before, "tunnel_ingress", "drop", "misrouted")
		if peers := s.Status().Peers; len(peers) != 1 || peers[0].RxPackets != 6 {
			t.Errorf("6 packets came from the one peer; counted: %+v", peers)
		}
	})
}

// TestGuard: without a tunnel pods of other nodes cannot be reached, whoever has
// routes to them, and by no route either.
func TestGuard(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		plain := listen(t, n.world, peerPod)
		send(t, n.pod, podAddr, peerPod, "control")
		arrives(t, plain, "control")

		s := start(t, o)
		apply(t, s, guard())
		if _, err := net.Dial("udp", netip.AddrPortFrom(peerPod, 4000).String()); !errors.Is(err, unix.EHOSTUNREACH) {
			t.Errorf("without a route of the CNI's, the node is told %v, want EHOSTUNREACH", err)
		}
		addRoute(t, "10.244.0.0/16", "192.0.2.2")
		before := s.Status()
		send(t, n.pod, podAddr, peerPod, "guarded")
		grew(t, s, before, "egress", "drop", "unknown_peer")

		tun, index := openTUN(t, o.Name)
		apply(t, s, steered(index))
		tun.Close()
		eventually(t, func() string {
			err := s.Apply(t.Context(), steered(index))
			if err != nil && strings.Contains(s.Status().Failing, "there is no device with index") {
				return ""
			}
			return fmt.Sprintf("the tunnel device is gone, and Apply says %v", err)
		})
		before = s.Status()
		send(t, n.pod, podAddr, peerPod, "no device")
		grew(t, s, before, "egress", "drop", "no_tunnel")
		nothingCame(t, plain)
	})
}

// TestPermissive: what cannot be encrypted passes, and is counted.
func TestPermissive(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		tun, index := openTUN(t, o.Name)
		s := start(t, o)
		state := steered(index)
		state.Strict = false
		apply(t, s, state)
		plain := listen(t, n.world, unknownPod)
		before := s.Status()
		send(t, n.pod, podAddr, unknownPod, "plain")
		arrives(t, plain, "plain")
		grew(t, s, before, "egress", "pass", "unknown_peer")
		send(t, n.pod, podAddr, peerPod, "secret")
		expect(t, tun, "secret")

		state.Strict = true
		apply(t, s, state)
		addRoute(t, "10.244.9.0/24", "192.0.2.2")
		send(t, n.pod, podAddr, unknownPod, "refused")
		grew(t, s, before, "egress", "drop", "unknown_peer")
		nothingCame(t, plain)
	})
}

func TestMissingBPFFS(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s := start(t, steering.Options{BPFFS: t.TempDir() + "/not/there", Name: "wgt0"})
	err := s.Apply(t.Context(), guard())
	if err == nil {
		t.Fatal("a pin directory outside a bpffs was accepted")
	}
	wantText(t, err.Error(), "mount -t bpf bpf /sys/fs/bpf")
	if got := s.Status().Failing; got != err.Error() {
		t.Errorf("failing: %q, want %q", got, err)
	}
}

func removeRoute(t *testing.T, r *netlink.Route) {
	t.Helper()
	if err := netlink.RouteDel(r); err != nil {
		t.Errorf("remove route %v: %v", r, err)
	}
}
