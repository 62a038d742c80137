package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestPathMTU: pods and nodes send packets as long as the underlay takes, and must
// not have them fragmented. Those that the tunnel cannot take whole are answered,
// the socket knows the path's MTU, and what it sends again arrives. TCP needs no
// answer, unless the MTU changes under it.
func TestPathMTU(t *testing.T) {
	for _, underlay := range []int{1500} {
		t.Run(fmt.Sprint("underlay ", underlay), func(t *testing.T) {
			c := upWith(t, plain, netlab.Options{MTU: underlay, PodMTU: underlay, Pods: 2})
			tunnel := underlay - netlab.TunnelOverhead
			c.encrypted(func() {
				for _, family := range c.Families {
					for _, from := range []string{"node-a/pod-1", "node-a"} {
						c.learns(c.find(from), c.find("node-b/pod-1"), family, underlay, tunnel, 0)
						c.learns(c.find(from), c.find("node-b/pod-2"), family, underlay, tunnel, 8)
					}
					c.learns(c.find("node-a/pod-2"), c.find("node-b"), family, underlay, tunnel, 0)
					c.streamsThrough(family, tunnel)
				}
			})
			for _, n := range c.Nodes {
				s := c.status(n.Name)
				answered := counted(s, "tunnel_ingress", "pass", "mtu_answer")
				if answered == 0 || counted(s, "tunnel_egress", "drop", "too_long") < answered {
					t.Errorf("%s counts %d answers among %+v", n.Name, answered, s.Steering.Verdicts)
				}
				if n := counted(s, "tunnel_egress", "drop", "too_long_unanswered"); n != 0 {
					t.Errorf("%d packets had no answer", n)
				}
			}
		})
	}
}

// learns sends datagrams of the underlay's length, so many at once as one GSO packet
// if segments is not 0, until the socket knows that the path takes only those of the
// tunnel's; and one of these has to arrive.
func (c *cluster) learns(from, to netlab.Endpoint, family, underlay, tunnel, segments int) {
	c.t.Helper()
	what := fmt.Sprintf("%s > %s IPv%d, %d segments", from.Name, to.Name, family, segments)
	headers := map[int]int{4: 20 + 8, 6: 40 + 8}[family]
	server, conn := c.datagrams(from, to, family)
	if got := pathMTU(c.t, conn); got != underlay {
		c.t.Fatalf("%s: the path MTU is %d from the start, want %d", what, got, underlay)
	}
	long := make([]byte, (underlay-headers)*max(1, segments))
	if segments != 0 {
		setOption(c.t, conn, unix.IPPROTO_UDP, unix.UDP_SEGMENT, underlay-headers)
	}
	if _, err := conn.Write(long); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	c.until(what+": the path MTU is the tunnel's", func() bool { return pathMTU(c.t, conn) == tunnel })
	if _, err := conn.Write(long); !errors.Is(err, unix.EMSGSIZE) && !errors.Is(err, unix.EINVAL) {
		c.t.Errorf("%s: what is too long is sent again: %v", what, err)
	}
	if segments != 0 {
		setOption(c.t, conn, unix.IPPROTO_UDP, unix.UDP_SEGMENT, tunnel-headers)
	}
	fits := bytes.Repeat([]byte{1}, tunnel-headers)
	c.until(what+": what fits arrives", func() bool {
		if _, err := conn.Write(fits); err != nil && !errors.Is(err, unix.EMSGSIZE) { // of an earlier one
			c.t.Fatalf("%s: %v", what, err)
		}
		_ = server.SetReadDeadline(time.Now().Add(time.Second)) // fails only once it is closed
		got := make([]byte, underlay)
		n, _, err := server.ReadFrom(got)
		return err == nil && bytes.Equal(got[:n], fits)
	})
}

// datagrams is a server at to, and a socket of from that is connected to it and has
// nothing fragmented.
func (c *cluster) datagrams(from, to netlab.Endpoint, family int) (server net.PacketConn, conn *net.UDPConn) {
	c.t.Helper()
	ip, err := to.IP(family)
	if err != nil {
		c.t.Fatal(err)
	}
	server, err = to.ListenPacket(c.t.Context(), fmt.Sprint("udp", family), netip.AddrPortFrom(ip, 0))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { server.Close() })
	client, err := from.Dial(c.t.Context(), fmt.Sprint("udp", family), server.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { client.Close() })
	conn = client.(*net.UDPConn)
	if family == 4 {
		setOption(c.t, conn, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	} else {
		setOption(c.t, conn, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
	}
	return server, conn
}

// streamsThrough has a TCP connection live on while the tunnels' MTU becomes less
// than its segments are long, and more again.
func (c *cluster) streamsThrough(family, tunnel int) {
	c.t.Helper()
	const length = 4 << 20
	server := c.answer(c.find("node-b/pod-1"), family)
	client, err := c.find("node-a/pod-1").Dial(c.t.Context(), fmt.Sprint("tcp", family), server)
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	conn := client.(*net.TCPConn)
	said, err := readLine(conn)
	if err != nil || said == "" {
		c.t.Fatalf("the server says %q: %v", said, err)
	}
	for _, mtu := range []int{tunnel, tunnel - 100} {
		for _, n := range c.Nodes {
			c.setMTU(n.Name, mtu)
		}
		if err := echo(c.t.Context(), conn, length); err != nil {
			c.t.Errorf("IPv%d, MTU %d: %v", family, mtu, err)
		}
		if got := segmentLength(c.t, conn); got > mtu-map[int]int{4: 40, 6: 60}[family] {
			c.t.Errorf("IPv%d, MTU %d: segments of %d bytes", family, mtu, got)
		}
	}
	for _, n := range c.Nodes {
		c.setMTU(n.Name, tunnel)
	}
}

func readLine(conn net.Conn) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := conn.Read(b); err != nil || b[0] == '\n' {
			return string(line), err
		}
	}
}

// echo sends bytes and has as many back.
func echo(ctx context.Context, conn net.Conn, length int) error {
	deadline := time.Now().Add(time.Minute)
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(make([]byte, length))
		wrote <- err
	}()
	buf := make([]byte, 1<<16)
	for got := 0; got < length; {
		n, err := conn.Read(buf)
		got += n
		if err != nil {
			return fmt.Errorf("%d of %d bytes came back: %w", got, length, err)
		}
	}
	return <-wrote
}

// setMTU rewrites a node's configuration and has it reloaded.
func (c *cluster) setMTU(name string, mtu int) {
	c.t.Helper()
	path := c.config(c.node(name))
	text, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	rest, _, _ := strings.Cut(string(text), "mtu: ") // the last field, if it is there
	if err := os.WriteFile(path, []byte(rest+"mtu: "+strconv.Itoa(mtu)+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := c.daemons[name].Process.Signal(syscall.SIGHUP); err != nil {
		c.t.Fatal(err)
	}
	c.await(name, fmt.Sprint("MTU ", mtu), func(s dataplane.Status) bool { return s.Ready && s.MTU == mtu })
}

// pathMTU is what a connected socket knows of its path.
func pathMTU(t *testing.T, conn *net.UDPConn) int {
	t.Helper()
	if conn.RemoteAddr().(*net.UDPAddr).IP.To4() != nil {
		return option(t, conn, unix.IPPROTO_IP, unix.IP_MTU)
	}
	return option(t, conn, unix.IPPROTO_IPV6, unix.IPV6_MTU)
}

// segmentLength is the most that TCP sends in a packet now, in bytes.
func segmentLength(t *testing.T, conn *net.TCPConn) int {
	t.Helper()
	return option(t, conn, unix.IPPROTO_TCP, unix.TCP_MAXSEG)
}

func option(t *testing.T, conn syscall.Conn, level, name int) (value int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); cerr != nil || err != nil {
		t.Fatalf("socket option %d of level %d: %v, %v", name, level, cerr, err)
	}
	return value
}

func setOption(t *testing.T, conn syscall.Conn, level, name, value int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, name, value) }); cerr != nil || err != nil {
		t.Fatalf("set socket option %d of level %d to %d: %v, %v", name, level, value, cerr, err)
	}
}
