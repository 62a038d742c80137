package e2e_test

import (
	"bytes"
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
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestPathMTU: pods and nodes send packets as long as the underlay takes, and must
// not have them fragmented. Those that the tunnel cannot take whole are answered,
// the socket knows the path's MTU, and what it sends again arrives. TCP needs no
// answer, unless the MTU changes under it.
func TestPathMTU(t *testing.T) {
	privtest.Tool(t, "nft")
	for _, underlay := range []int{1400, 1500, 9000} {
		t.Run(fmt.Sprint("underlay ", underlay), func(t *testing.T) {
			c := upWith(t, plain, netlab.Options{MTU: underlay, PodMTU: underlay, Pods: 2})
			tunnel := underlay - netlab.TunnelOverhead
			mtu := pathMTUs{c, underlay, tunnel}
			c.encrypted(func() {
				for _, family := range c.Families {
					for _, from := range []string{"node-a/pod-1", "node-a"} {
						mtu.learned(c.find(from), c.find("node-b/pod-1"), family, 0)
						mtu.learned(c.find(from), c.find("node-b/pod-2"), family, 4)
					}
					mtu.learned(c.find("node-a/pod-2"), c.find("node-b"), family, 0)
					mtu.learnedOfService(c.find("node-a/pod-2"), c.find("node-b/pod-2"), family)
					mtu.streamed(family)
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

// pathMTUs tests what sockets learn in a cluster whose pods have the underlay's MTU.
type pathMTUs struct {
	*cluster
	underlay, tunnel int
}

// learned sends datagrams of the underlay's length, so many at once as one GSO packet
// if segments is not 0, until the socket knows that the path takes only those of the
// tunnel's; and one of these has to arrive.
func (m pathMTUs) learned(from, to netlab.Endpoint, family, segments int) {
	m.t.Helper()
	server := m.serve(to, family)
	conn := m.connect(from, family, server.LocalAddr().(*net.UDPAddr).AddrPort())
	m.learn(fmt.Sprintf("%s > %s IPv%d, %d segments", from.Name, to.Name, family, segments), conn, server, family, segments)
}

// learnedOfService is the same for a Service of one pod: what is quoted in the answer
// has an address that the sender never heard of, before its node has translated it.
func (m pathMTUs) learnedOfService(from, to netlab.Endpoint, family int) {
	m.t.Helper()
	server := m.serve(to, family)
	node, cluster, p := m.node("node-a"), m.ClusterCIDRs[0], proxies["nftables"]
	for _, c := range m.ClusterCIDRs {
		if c.Addr().Is6() == (family == 6) {
			cluster = c
		}
	}
	m.rules(node, p.tools[family], p.rules(cluster, server.LocalAddr().(*net.UDPAddr).AddrPort()))
	defer m.rules(node, p.tools[family], p.none[family])
	conn := m.connect(from, family, netip.AddrPortFrom(serviceIPs[family], servicePort))
	m.learn(fmt.Sprintf("%s > a Service IPv%d", from.Name, family), conn, server, family, 0)
}

func (m pathMTUs) learn(what string, conn *net.UDPConn, server net.PacketConn, family, segments int) {
	m.t.Helper()
	headers := map[int]int{4: 20 + 8, 6: 40 + 8}[family]
	if got := pathMTU(m.t, conn); got != m.underlay {
		m.t.Fatalf("%s: the path MTU is %d from the start, want %d", what, got, m.underlay)
	}
	long := make([]byte, (m.underlay-headers)*max(1, segments))
	if segments != 0 {
		setOption(m.t, conn, unix.IPPROTO_UDP, unix.UDP_SEGMENT, m.underlay-headers)
	}
	if _, err := conn.Write(long); err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	m.until(what+": the path MTU is the tunnel's", func() bool { return pathMTU(m.t, conn) == m.tunnel })
	if _, err := conn.Write(long); !errors.Is(err, unix.EMSGSIZE) && !errors.Is(err, unix.EINVAL) {
		m.t.Errorf("%s: what is too long is sent again: %v", what, err)
	}
	if segments != 0 {
		setOption(m.t, conn, unix.IPPROTO_UDP, unix.UDP_SEGMENT, m.tunnel-headers)
	}
	fits := bytes.Repeat([]byte{1}, m.tunnel-headers)
	m.until(what+": what fits arrives", func() bool {
		if _, err := conn.Write(fits); errors.Is(err, unix.EMSGSIZE) {
			return false // of an earlier one
		} else if err != nil {
			m.t.Fatalf("%s: %v", what, err)
		}
		_ = server.SetReadDeadline(time.Now().Add(time.Second)) // fails only once it is closed
		got := make([]byte, m.underlay)
		n, _, err := server.ReadFrom(got)
		return err == nil && bytes.Equal(got[:n], fits)
	})
}

func (m pathMTUs) serve(at netlab.Endpoint, family int) net.PacketConn {
	m.t.Helper()
	ip, err := at.IP(family)
	if err != nil {
		m.t.Fatal(err)
	}
	server, err := at.ListenPacket(m.t.Context(), fmt.Sprint("udp", family), netip.AddrPortFrom(ip, 0))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { server.Close() })
	return server
}

// connect is a socket that has nothing fragmented.
func (m pathMTUs) connect(from netlab.Endpoint, family int, to netip.AddrPort) *net.UDPConn {
	m.t.Helper()
	conn, err := from.Dial(m.t.Context(), fmt.Sprint("udp", family), to)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { conn.Close() })
	udp := conn.(*net.UDPConn)
	if family == 4 {
		setOption(m.t, udp, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	} else {
		setOption(m.t, udp, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
	}
	return udp
}

// streamed has TCP connections carry bytes: one from start to end, whose ends were
// told of the MTU; and one that lives on while the MTU becomes less than its segments
// are long.
func (m pathMTUs) streamed(family int) {
	m.t.Helper()
	const length = 4 << 20
	server := m.answer(m.find("node-b/pod-1"), family)
	conn, err := m.find("node-a/pod-1").Dial(m.t.Context(), fmt.Sprint("tcp", family), server)
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close()
	said, err := readLine(conn)
	if err != nil || said == "" {
		m.t.Fatalf("the server says %q: %v", said, err)
	}
	for _, mtu := range []int{m.tunnel, m.tunnel - 40} {
		for _, n := range m.Nodes {
			m.setMTU(n.Name, mtu)
		}
		before := m.tooLong()
		if err := echo(conn, length); err != nil {
			m.t.Errorf("IPv%d, MTU %d: %v", family, mtu, err)
		}
		if got, most := segmentLength(m.t, conn), mtu-map[int]int{4: 40, 6: 60}[family]; got > most {
			m.t.Errorf("IPv%d, MTU %d: segments of %d bytes, want at most %d", family, mtu, got, most)
		}
		if learned := m.tooLong() - before; learned > 0 != (mtu < m.tunnel) {
			m.t.Errorf("IPv%d, MTU %d: %d packets were too long", family, mtu, learned)
		}
	}
	for _, n := range m.Nodes {
		m.setMTU(n.Name, m.tunnel)
	}
}

// tooLong counts the packets that were answered on all nodes.
func (m pathMTUs) tooLong() (n uint64) {
	for _, node := range m.Nodes {
		n += counted(m.status(node.Name), "tunnel_egress", "drop", "too_long")
	}
	return n
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
func echo(conn net.Conn, length int) error {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
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
func segmentLength(t *testing.T, conn net.Conn) int {
	t.Helper()
	return option(t, conn.(*net.TCPConn), unix.IPPROTO_TCP, unix.TCP_MAXSEG)
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
