package kubee2e_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// stream is a TCP connection between two pods on which numbered blocks go there and
// back, one at a time. It breaks when the connection does, or when a block is not the
// one that was sent.
type stream struct {
	name   string
	t      *testing.T
	blocks atomic.Uint64 // that came back
	broken atomic.Pointer[error]
	conn   net.Conn
	ended  chan struct{}
}

// block is more than a segment, so that the path's MTU matters.
const block = 16 << 10

// stream starts one between pod-1 of two nodes.
func (c *cluster) stream(from, to string, family int) *stream {
	c.t.Helper()
	source, err := c.Find(from + "/pod-1")
	if err != nil {
		c.t.Fatal(err)
	}
	target, err := c.Find(to + "/pod-1")
	if err != nil {
		c.t.Fatal(err)
	}
	ip, err := target.IP(family)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	listener, err := target.Listen(ctx, "tcp", netip.AddrPortFrom(ip, 0))
	if err != nil {
		c.t.Fatal(err)
	}
	defer listener.Close()
	conn, err := source.Dial(ctx, "tcp", listener.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		c.t.Fatal(err)
	}
	echo, err := listener.Accept()
	if err != nil {
		c.t.Fatal(err)
	}
	s := &stream{name: from + " > " + to, t: c.t, conn: conn, ended: make(chan struct{})}
	go func() {
		defer echo.Close()
		_, _ = io.Copy(echo, echo) // its end is seen by the other end
	}()
	go s.run()
	c.t.Cleanup(func() { conn.Close(); <-s.ended })
	return s
}

func (s *stream) run() {
	defer close(s.ended)
	b := make([]byte, block)
	for {
		n := s.blocks.Load() + 1
		binary.BigEndian.PutUint64(b, n)
		_, err := s.conn.Write(b)
		if err == nil {
			_, err = io.ReadFull(s.conn, b)
		}
		if got := binary.BigEndian.Uint64(b); err == nil && got != n {
			s.t.Errorf("stream %s: block %d came back as %d", s.name, n, got)
		}
		if err != nil {
			s.broken.Store(&err)
			return
		}
		s.blocks.Store(n)
		time.Sleep(5 * time.Millisecond) // a pace, some 25 Mbit/s there and back
	}
}

// goesOn waits until some blocks more have come back.
func (s *stream) goesOn(c *cluster) {
	c.t.Helper()
	before := s.blocks.Load()
	c.until("5 blocks more on the stream "+s.name, func() bool {
		if err := s.broken.Load(); err != nil {
			c.t.Fatalf("the stream %s broke after %d blocks: %v", s.name, s.blocks.Load(), *err)
		}
		return s.blocks.Load() >= before+5
	})
}
