package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// stream is UDP through the tunnel, numbered, at a steady pace.
type stream struct {
	stop chan struct{}
	done sync.WaitGroup
	sent uint32
	seen map[uint32]int
}

const pace = 2 * time.Millisecond

// startStream sends from a's inner address to b's until end is called.
func startStream(t *testing.T, a, b *end) *stream {
	t.Helper()
	s := &stream{stop: make(chan struct{}), seen: map[uint32]int{}}
	var in net.PacketConn
	var out net.Conn
	var err error
	b.Do(func() { in, err = net.ListenPacket("udp4", fmt.Sprintf("%s:9", b.inner.Addr())) })
	if err != nil {
		t.Fatal(err)
	}
	a.Do(func() {
		out, err = net.DialUDP("udp4", &net.UDPAddr{IP: a.inner.Addr().AsSlice()}, &net.UDPAddr{IP: b.inner.Addr().AsSlice(), Port: 9})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.done.Go(func() {
		defer out.Close()
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				if _, err := out.Write(binary.BigEndian.AppendUint32(nil, s.sent)); err != nil {
					t.Errorf("send: %v", err)
				}
				s.sent++
			}
		}
	})
	s.done.Go(func() {
		defer in.Close()
		buf := make([]byte, 4)
		for {
			_ = in.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			n, _, err := in.ReadFrom(buf)
			if n == 4 {
				s.seen[binary.BigEndian.Uint32(buf)]++
			}
			if err == nil {
				continue
			}
			select {
			case <-s.stop: // and nothing came for a while
				return
			default:
			}
		}
	})
	return s
}

// end returns how many were sent, and how many of them did not come.
func (s *stream) end() (sent, lost int) {
	close(s.stop)
	s.done.Wait()
	for i := range s.sent {
		if s.seen[i] == 0 {
			lost++
		}
	}
	return int(s.sent), lost
}
