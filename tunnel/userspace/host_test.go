package userspace_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// patience bounds every wait for something that takes milliseconds, or the 5 s
// of a repeated handshake, on a machine that is busy with other tests.
const patience = 30 * time.Second

// echoPort is where every host of a pair answers UDP with the same again.
const echoPort = 7

// serveEcho answers until the test ends.
func (n *node) serveEcho(t *testing.T) {
	t.Helper()
	var c net.PacketConn
	var err error
	n.Do(func() { c, err = net.ListenPacket("udp", fmt.Sprintf(":%d", echoPort)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		for buf := make([]byte, 2048); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
}

// dial connects a UDP socket of the host to a host's echo.
func (n *node) dial(t *testing.T, to string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	n.Do(func() { c, err = net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(to), echoPort).String()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echo sends once and reports whether the answer comes in time.
func echo(c net.Conn, in time.Duration) bool {
	if _, err := c.Write([]byte("hello")); err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(in))
	n, err := c.Read(make([]byte, 100))
	return err == nil && n == len("hello")
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}
