package interop_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// echoPort is where every host answers, by UDP and TCP, with the same again.
const echoPort = 7

// serveEcho answers until the test ends.
func serveEcho(t *testing.T, h *privtest.Host) {
	t.Helper()
	var datagrams net.PacketConn
	var streams net.Listener
	var err, err2 error
	h.Do(func() {
		datagrams, err = net.ListenPacket("udp", fmt.Sprintf(":%d", echoPort))
		streams, err2 = net.Listen("tcp", fmt.Sprintf(":%d", echoPort))
	})
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	echoDatagrams(t, datagrams)
	t.Cleanup(func() { streams.Close() })
	go func() {
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
}

// echoDatagrams answers on c until the test ends.
func echoDatagrams(t *testing.T, c net.PacketConn) {
	t.Cleanup(func() { c.Close() })
	go func() {
		for buf := make([]byte, 1<<16); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
}

// dial connects a socket of e to the echo at an address.
func (e end) dial(t *testing.T, network string, to netip.Addr) net.Conn {
	t.Helper()
	return e.dialTo(t, network, netip.AddrPortFrom(to, echoPort))
}

func (e end) dialTo(t *testing.T, network string, to netip.AddrPort) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	d := net.Dialer{Timeout: patience}
	e.Do(func() { c, err = d.Dial(network, to.String()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echo sends once and reports whether the same comes back in time.
func echo(c net.Conn, data []byte, in time.Duration) bool {
	if _, err := c.Write(data); err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(in))
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	return err == nil && bytes.Equal(buf[:n], data)
}

// ping waits until an echo comes back.
func (e end) ping(t *testing.T, to netip.Addr) {
	t.Helper()
	c := e.dial(t, "udp", to)
	until(t, fmt.Sprintf("echo from %v to %s", to, e.name), func() bool { return echo(c, []byte("hello"), time.Second) })
}

// sizes of datagrams in bytes: least, around what fits the tunnel's MTU, and
// what goes in fragments.
var sizes = []int{1, 2, 15, 16, 17, 100, 1371, 1372, 1373, 1392, 1393, 4000, 20_000, 60_000}

// carry moves datagrams and streams both ways, over IPv4 and IPv6, whole.
func (p *pair) carry(t *testing.T) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, way := range []struct {
		from end
		to   netip.Addr
	}{
		{p.ours.end, p.theirs.inner4()}, {p.ours.end, p.theirs.inner6()},
		{p.theirs.end, p.ours.inner4()}, {p.theirs.end, p.ours.inner6()},
	} {
		c := way.from.dial(t, "udp", way.to)
		for _, size := range sizes {
			// A datagram may be lost for want of room: it is told by its content, and sent again.
			data := fill(random, size)
			until(t, fmt.Sprintf("echo of %d bytes from %v", size, way.to), func() bool { return echo(c, data, time.Second) })
		}
		if err := stream(way.from.dial(t, "tcp", way.to), fill(random, 1<<20)); err != nil {
			t.Errorf("TCP to %v: %v", way.to, err)
		}
	}
}

// stream sends data and wants it back.
func stream(c net.Conn, data []byte) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err = errors.Join(err, <-sent); err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("%d bytes came back, of %d, and not the same", len(got), len(data))
	}
	return err
}

func fill(random *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}
