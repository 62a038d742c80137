package steering_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/steering"
)

// node is a node of a cluster: the network namespace of the test's process, with
// an uplink eth0 to a namespace that stands for the rest of the world, and a pod
// in a namespace of its own.
type node struct {
	pod, world, host netns.NsHandle // host is the node's own
}

// Where everything is. The world answers for peer pods as well, so that a packet
// which leaves in plaintext arrives somewhere.
var (
	podAddr, podAddr6   = netip.MustParseAddr("10.244.1.5"), netip.MustParseAddr("fd00:244:1::5")
	peerPod, peerPod6   = netip.MustParseAddr("10.244.2.7"), netip.MustParseAddr("fd00:244:2::7")
	unknownPod          = netip.MustParseAddr("10.244.9.9")
	nodeAddr, nodeAddr6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	peerNode, peerNode6 = netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
	outside             = netip.MustParseAddr("192.0.2.77")
)

// guard is the node's state before its tunnel.
func guard() steering.State {
	return steering.State{
		Strict:        true,
		LocalPodCIDRs: prefixes("10.244.1.0/24", "fd00:244:1::/64"),
		LocalNodeIPs:  []netip.Addr{nodeAddr, nodeAddr6},
		ClusterCIDRs:  prefixes("10.244.0.0/16", "fd00:244::/32"),
	}
}

// steered is the state with a tunnel and one peer.
func steered(tunnel int) steering.State {
	s := guard()
	s.Tunnel = steering.Tunnel{Index: tunnel, Addresses: prefixes("192.0.2.1/32", "2001:db8::1/128")}
	s.Peers = []steering.Peer{{
		Name:     "node-b",
		PodCIDRs: prefixes("10.244.2.0/24", "fd00:244:2::/64"),
		NodeIPs:  []netip.Addr{peerNode, peerNode6},
		Endpoint: peerNode,
	}}
	return s
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// newNode builds the node and takes it down with the test.
func newNode(t *testing.T) node {
	t.Helper()
	host, err := netns.Get()
	if err != nil {
		t.Fatalf("find the network namespace: %v", err)
	}
	t.Cleanup(func() { host.Close() })
	n := node{pod: newNamespace(t), world: newNamespace(t), host: host}
	veth(t, "eth0", n.world, "192.0.2.1/24", "2001:db8::1/64")
	veth(t, "pod0", n.pod, "10.244.1.1/24", "fd00:244:1::1/64")
	write(t, "/proc/sys/net/ipv4/ip_forward", "1")
	write(t, "/proc/sys/net/ipv6/conf/all/forwarding", "1")
	addRoute(t, "0.0.0.0/0", "192.0.2.2")
	addRoute(t, "::/0", "2001:db8::2")
	inside(t, n.world, func() {
		for _, a := range []string{"192.0.2.2/24", "2001:db8::2/64", "192.0.2.77/32", "10.244.2.7/32", "10.244.9.9/32", "fd00:244:2::7/128"} {
			addAddr(t, "eth0", a)
		}
		addRoute(t, "10.244.1.0/24", "192.0.2.1")
		addRoute(t, "fd00:244:1::/64", "2001:db8::1")
	})
	inside(t, n.pod, func() {
		addAddr(t, "eth0", "10.244.1.5/24")
		addAddr(t, "eth0", "fd00:244:1::5/64")
		addRoute(t, "0.0.0.0/0", "10.244.1.1")
		addRoute(t, "::/0", "fd00:244:1::1")
	})
	return n
}

// veth puts a pair between here and a namespace, called name on both ends but
// for the pod's.
func veth(t *testing.T, name string, there netns.NsHandle, addrs ...string) {
	t.Helper()
	far := name
	if name == "pod0" {
		far = "eth0"
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: far, PeerNamespace: netlink.NsFd(there)}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatalf("add %s: %v", name, err)
	}
	t.Cleanup(func() { netlink.LinkDel(pair) }) // may be gone
	up(t, name)
	for _, a := range addrs {
		addAddr(t, name, a)
	}
	inside(t, there, func() { up(t, far); up(t, "lo") })
}

func up(t *testing.T, name string) {
	t.Helper()
	if err := netlink.LinkSetUp(byName(t, name)); err != nil {
		t.Fatalf("set %s up: %v", name, err)
	}
}

func byName(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return l
}

func addAddr(t *testing.T, device, addr string) {
	t.Helper()
	n, err := netlink.ParseIPNet(addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(byName(t, device), &netlink.Addr{IPNet: n, Flags: unix.IFA_F_NODAD}); err != nil {
		t.Fatalf("add %s to %s: %v", addr, device, err)
	}
}

func addRoute(t *testing.T, dst, gateway string) *netlink.Route {
	t.Helper()
	_, n, err := net.ParseCIDR(dst)
	if err != nil {
		t.Fatal(err)
	}
	r := &netlink.Route{Dst: n, Gw: net.ParseIP(gateway)}
	if err := netlink.RouteAdd(r); err != nil {
		t.Fatalf("add route %s via %s: %v", dst, gateway, err)
	}
	return r
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func newNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	made := make(chan error, 1)
	var ns netns.NsHandle
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		ns, err = netns.New()
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// inside calls f in a network namespace. f may fail the test, by t.Fatal too.
func inside(t *testing.T, ns netns.NsHandle, f func()) {
	t.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := netns.Set(ns); err != nil {
			t.Errorf("enter a network namespace: %v", err)
			return
		}
		f()
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// openTUN opens a TUN device that is up.
func openTUN(t *testing.T, name string) (tun *os.File, index int) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		t.Fatalf("open TUN %s: %v", name, err)
	}
	tun = os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { tun.Close() }) // twice is no harm
	up(t, name)
	return tun, byName(t, name).Attrs().Index
}

// patience bounds every wait for what takes milliseconds on an idle machine.
const patience = time.Minute

// expect reads packets until one carries payload, and returns that one.
func expect(t *testing.T, tun *os.File, payload string) []byte {
	t.Helper()
	tun.SetReadDeadline(time.Now().Add(patience))
	buffer := make([]byte, 65536)
	for {
		n, err := tun.Read(buffer)
		if err != nil {
			t.Fatalf("no packet with %q came out of the tunnel device: %v", payload, err)
		}
		if bytes.Contains(buffer[:n], []byte(payload)) {
			return buffer[:n]
		}
	}
}

// send sends one datagram from a namespace, from any address if from is zero.
func send(t *testing.T, ns netns.NsHandle, from, to netip.Addr, payload string) {
	t.Helper()
	if err := trySend(t, ns, from, to, payload); err != nil {
		t.Fatalf("send %q to %v: %v", payload, to, err)
	}
}

func trySend(t *testing.T, ns netns.NsHandle, from, to netip.Addr, payload string) (err error) {
	t.Helper()
	inside(t, ns, func() {
		dialer := net.Dialer{}
		if from.IsValid() {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		var conn net.Conn
		if conn, err = dialer.Dial("udp", netip.AddrPortFrom(to, 4000).String()); err == nil {
			defer conn.Close()
			_, err = conn.Write([]byte(payload))
		}
	})
	return err
}

// listen receives datagrams in a namespace.
func listen(t *testing.T, ns netns.NsHandle, at netip.Addr) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	inside(t, ns, func() {
		var err error
		if conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 4000))); err != nil {
			t.Errorf("listen on %v: %v", at, err)
		}
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

// arrives waits for a datagram.
func arrives(t *testing.T, conn *net.UDPConn, payload string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patience))
	buffer := make([]byte, 2048)
	n, err := conn.Read(buffer)
	if err != nil || string(buffer[:n]) != payload {
		t.Fatalf("want %q to arrive at %v, got %q, %v", payload, conn.LocalAddr(), buffer[:n], err)
	}
}

// nothingCame says that until now no datagram arrived. The caller has made sure,
// by a counter, that what it sent is past the point of departure.
func nothingCame(t *testing.T, conn *net.UDPConn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	buffer := make([]byte, 2048)
	if n, err := conn.Read(buffer); err == nil {
		t.Fatalf("%q left in plaintext and arrived at %v", buffer[:n], conn.LocalAddr())
	}
}

// eventually waits for a condition; the text says what is not so at the end.
func eventually(t *testing.T, condition func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		wrong := condition()
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// counted is how many packets came to an outcome.
func counted(s steering.Status, hook, verdict, reason string) uint64 {
	for _, v := range s.Verdicts {
		if v.Hook == hook && v.Verdict == verdict && v.Reason == reason {
			return v.Packets
		}
	}
	return 0
}

// grew waits until an outcome was counted more often than before.
func grew(t *testing.T, s *steering.Steering, before steering.Status, hook, verdict, reason string) {
	t.Helper()
	eventually(t, func() string {
		now := s.Status()
		if counted(now, hook, verdict, reason) > counted(before, hook, verdict, reason) {
			return ""
		}
		return fmt.Sprintf("%s %s %s was not counted; there are %+v", hook, verdict, reason, now.Verdicts)
	})
}

// stop closes s; the pins stay.
func stop(t *testing.T, s *steering.Steering) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// start makes a Steering; it is closed with the test.
func start(t *testing.T, o steering.Options) *steering.Steering {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := steering.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func apply(t *testing.T, s *steering.Steering, state steering.State) {
	t.Helper()
	if err := s.Apply(context.Background(), state); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

// datagram is an IP packet with a UDP datagram to port 4000.
func datagram(from, to netip.Addr, payload string) []byte {
	udp := &layers.UDP{SrcPort: 5000, DstPort: 4000}
	var ip gopacket.SerializableLayer
	if from.Is4() {
		v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		udp.SetNetworkLayerForChecksum(v4)
		ip = v4
	} else {
		v6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		udp.SetNetworkLayerForChecksum(v6)
		ip = v6
	}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, ip, udp, gopacket.Payload(payload)); err != nil {
		panic(err) // the layers are ours
	}
	return buffer.Bytes()
}

func wantText(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%q does not say %q", text, want)
	}
}
