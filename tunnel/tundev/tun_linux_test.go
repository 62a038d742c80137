package tundev_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/tundev"
)

const (
	name     = "wgt0"
	offset   = 16 // room that wireguard-go leaves before a packet
	patience = 30 * time.Second
)

// open makes a TUN that is up, with address 10.9.0.1 and a network behind it.
func open(t *testing.T) (*tundev.TUN, *tundev.Queue) {
	t.Helper()
	link, err := tundev.Open(tundev.Options{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	ip(t, "addr", "add", "10.9.0.1/24", "dev", name)
	if err := link.Up(); err != nil {
		t.Fatal(err)
	}
	queue, err := link.Queue()
	if err != nil {
		t.Fatal(err)
	}
	return link, queue
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(privtest.Tool(t, "ip"), args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// dial makes a UDP socket whose packets go into the TUN.
func dial(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.9.0.2:9")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c *net.UDPConn, payload string) {
	t.Helper()
	if _, err := c.Write([]byte(payload)); err != nil {
		t.Fatal(err)
	}
}

func buffers(n int) ([][]byte, []int) {
	bufs := make([][]byte, n)
	for i := range bufs {
		bufs[i] = make([]byte, 1<<16)
	}
	return bufs, make([]int, n)
}

// read returns the packets of one Read.
func read(t *testing.T, q *tundev.Queue, n int) []string {
	t.Helper()
	bufs, sizes := buffers(n)
	got, err := q.Read(bufs, sizes, offset)
	if err != nil {
		t.Fatal(err)
	}
	var packets []string
	for i := range got {
		packets = append(packets, string(bufs[i][offset:offset+sizes[i]]))
	}
	return packets
}

// udpPacket makes an IPv4 UDP packet from 10.9.0.2 to 10.9.0.1, without UDP
// checksum.
func udpPacket(port uint16, payload string) []byte {
	p := make([]byte, offset+28+len(payload))
	b := p[offset:]
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], []byte{10, 9, 0, 2, 10, 9, 0, 1})
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	binary.BigEndian.PutUint16(b[20:], 9)
	binary.BigEndian.PutUint16(b[22:], port)
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	copy(b[28:], payload)
	return p
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

func TestWriteErrorsAreDrops(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, queue := open(t)
	c, err := net.ListenPacket("udp4", "10.9.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	port := netip.MustParseAddrPort(c.LocalAddr().String()).Port()

	ip(t, "link", "set", name, "down")
	write(t, queue, udpPacket(port, "lost"), udpPacket(port, "lost too"))
	ip(t, "link", "set", name, "up")
	ip(t, "addr", "replace", "10.9.0.1/24", "dev", name)
	bad := udpPacket(port, "no IP version")
	bad[offset] = 0
	write(t, queue, bad, udpPacket(port, "arrives"))

	buf := make([]byte, 100)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, _, err := c.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "arrives" {
		t.Errorf("received %q, %v", buf[:n], err)
	}
	s := link.Stats()
	if s.Drops[tundev.DropWriteDown] != 2 || s.Drops[tundev.DropWriteInvalid] != 1 || s.ToTUN.Packets != 4 {
		t.Errorf("stats %+v", s)
	}
	var all uint64
	for _, n := range s.Drops {
		all += n
	}
	if all != 3 {
		t.Errorf("%d drops in all: %v", all, s.Drops)
	}
}

func write(t *testing.T, q *tundev.Queue, packets ...[]byte) {
	t.Helper()
	if n, err := q.Write(packets, offset); n != len(packets) || err != nil {
		t.Errorf("Write: %d, %v; want %d and no error", n, err, len(packets))
	}
}

// wireguard-go's coalescing tables are for 128 flows; the engine's batches may
// be longer.
func TestWriteManyFlows(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, queue := open(t)
	var packets [][]byte
	for port := range uint16(1000) {
		packets = append(packets, udpPacket(port+1, "x"))
	}
	write(t, queue, packets...)
	if s := link.Stats(); s.ToTUN != (tunnel.Counts{Packets: 1000, Bytes: 29000}) {
		t.Errorf("stats %+v", s)
	}
}

// A GSO packet is counted whole as the kernel gave it, and as segments as the
// engine sees it.
func TestReadGSO(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, queue := open(t)
	if !slices.Contains(link.Stats().Offloads, "tun-uso") {
		t.Skip("this kernel has no USO for TUN (Linux 6.2 has)")
	}
	c := dial(t)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000)
	}), err); err != nil {
		t.Fatal(err)
	}
	payload := strings.Repeat("x", 9500)
	send(t, c, payload)
	got := read(t, queue, 128)
	if len(got) != 10 || len(got[0]) != 1028 || len(got[9]) != 528 {
		t.Errorf("%d segments", len(got))
	}
	s := link.Stats()
	if s.Reads != (tunnel.Counts{Packets: 1, Bytes: 9528}) || s.FromTUN != (tunnel.Counts{Packets: 10, Bytes: 9500 + 280}) {
		t.Errorf("reads %+v, segments %+v", s.Reads, s.FromTUN)
	}

	send(t, c, payload)
	if got := read(t, queue, 4); len(got) == 0 || len(got[0]) != 1028 {
		t.Errorf("%d segments where 4 had room", len(got))
	}
	if n := link.Stats().Drops[tundev.DropReadSegments]; n != 1 {
		t.Errorf("%d drops for want of room", n)
	}
	send(t, c, "and on")
	if got := read(t, queue, 4); len(got) != 1 || !strings.HasSuffix(got[0], "and on") {
		t.Errorf("read %q", got)
	}
}

// What does not fit the ring is counted by the kernel, and told.
func TestRingFull(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, err := tundev.Open(tundev.Options{Name: name, TxQueueLen: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	ip(t, "addr", "add", "10.9.0.1/24", "dev", name)
	if err := link.Up(); err != nil {
		t.Fatal(err)
	}
	c := dial(t)
	for range 50 {
		_, _ = c.Write([]byte("x")) // a full ring may show as ENOBUFS
	}
	until(t, "count of the 30 packets without room", func() bool { return link.Stats().Drops[tundev.DropRingFull] >= 30 })
}
