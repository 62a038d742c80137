package steering_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/steering"
)

// TestPathMTU: a pod, or the node, that sends more than the tunnel takes knows it
// afterwards, whether its packet was one or is to be cut; the reverse path filter is
// the strictest that a host can have.
func TestPathMTU(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		write(t, "/proc/sys/net/ipv4/conf/all/rp_filter", "1")
		write(t, "/proc/sys/net/ipv4/conf/default/rp_filter", "1")
		s := start(t, o)
		_, index := openTUN(t, o.Name)
		setMTU(t, o.Name, 1420)
		apply(t, s, steered(index))
		// The CNI's routes: the kernel would know the MTU of ours by itself.
		addRoute(t, "10.244.2.0/24", "192.0.2.2")
		addRoute(t, "fd00:244:2::/64", "2001:db8::2")
		for _, to := range []string{"10.244.2.7", "10.244.2.8", "fd00:244:2::7", "fd00:244:2::8"} {
			// The pod first: what the node knows of IPv6, it would tell the pod itself.
			for _, name := range []string{"pod", "node"} {
				from := map[string]netns.NsHandle{"pod": n.pod, "node": n.host}[name]
				to := netip.MustParseAddr(to)
				segments := 1
				if to.AsSlice()[len(to.AsSlice())-1] == 8 {
					segments = 4
				}
				t.Run(fmt.Sprintf("%s to %s, %d segments", name, to, segments), func(t *testing.T) {
					before := s.Status()
					conn := connected(t, from, to, segments)
					headers := map[bool]int{true: 20 + 8, false: 40 + 8}[to.Is4()]
					if _, err := conn.Write(make([]byte, (1500-headers)*segments)); err != nil {
						t.Fatal(err)
					}
					grew(t, s, before, "tunnel_egress", "drop", "too_long")
					grew(t, s, before, "tunnel_ingress", "pass", "mtu_answer")
					eventually(t, func() string {
						if got := pathMTU(t, conn, to.Is4()); got != 1420 {
							return fmt.Sprintf("the path MTU is %d, want 1420", got)
						}
						return ""
					})
					if peer := s.Status().Peers[0]; peer.RxPackets != 0 {
						t.Errorf("the answer counts as the peer's: %+v", peer)
					}
				})
			}
		}
	})
}

// connected is a UDP socket that has nothing fragmented, and sends segments of 1500
// bytes.
func connected(t *testing.T, from netns.NsHandle, to netip.Addr, segments int) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	inside(t, from, func() {
		var err error
		if conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 4000))); err != nil {
			t.Errorf("connect to %v: %v", to, err)
		}
	})
	t.Cleanup(func() { conn.Close() })
	level, name, value, headers := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, 20+8
	if to.Is6() {
		level, name, value, headers = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, 40+8
	}
	control(t, conn, func(fd int) error { return unix.SetsockoptInt(fd, level, name, value) })
	if segments > 1 {
		control(t, conn, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1500-headers) })
	}
	return conn
}

// pathMTU is what a connected socket knows.
func pathMTU(t *testing.T, conn *net.UDPConn, ipv4 bool) (mtu int) {
	t.Helper()
	level, name := unix.IPPROTO_IP, unix.IP_MTU
	if !ipv4 {
		level, name = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	control(t, conn, func(fd int) (err error) { mtu, err = unix.GetsockoptInt(fd, level, name); return err })
	return mtu
}

func control(t *testing.T, conn *net.UDPConn, f func(fd int) error) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil || err != nil {
		t.Fatalf("socket option: %v, %v", cerr, err)
	}
}

// TestUplinksChanged: it is told that an uplink has another MTU, that there is another
// one, and that one is gone; not what happens to others.
func TestUplinksChanged(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		o.VerifyEvery = time.Hour // only events
		told := make(chan struct{}, 100)
		o.UplinksChanged = func() { told <- struct{}{} }
		s := start(t, o)
		_, index := openTUN(t, o.Name)
		apply(t, s, steered(index))
		run(t, s)
		wait := func(what string) {
			t.Helper()
			select {
			case <-told:
			case <-time.After(patience):
				t.Fatalf("%s is not told", what)
			}
		}
		wait("the first uplink")
		veth(t, "other0", n.world, "203.0.113.1/24")
		setMTU(t, "pod0", 1300)
		setMTU(t, o.Name, 1300)
		setMTU(t, "eth0", 1400)
		wait("the uplink's MTU")
		veth(t, "eth1", n.world, "198.51.100.1/24")
		addRoute(t, "10.244.2.0/24", "198.51.100.2")
		wait("another uplink")
		if err := netlink.LinkDel(byName(t, "eth1")); err != nil {
			t.Fatal(err)
		}
		wait("an uplink's end")
		if len(told) != 0 {
			t.Errorf("%d changes too many were told", len(told))
		}
	})
}

func setMTU(t *testing.T, device string, mtu int) {
	t.Helper()
	if err := netlink.LinkSetMTU(byName(t, device), mtu); err != nil {
		t.Fatalf("set the MTU of %s to %d: %v", device, mtu, err)
	}
}
