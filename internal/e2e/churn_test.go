package e2e_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/wgkey"
)

// TestPeersComeAndGoUnderTraffic: 50 records are added and removed one by one
// while a TCP stream runs. The stream loses no more than it does when nothing
// changes, and no session shakes hands again.
//
// What is lost are the retransmissions that the receiver did not report as
// duplicates (DSACK, RFC 2883): on few cores the work on 100 changes delays
// acknowledgements by some milliseconds, and TCP then probes (RFC 8985) for what
// was never lost.
func TestPeersComeAndGoUnderTraffic(t *testing.T) {
	c := upWith(t, plain, netlab.Options{Families: []int{4}})
	// At the start both ends greet, and what crossed is tried again after 5 s.
	c.await("node-a", "a session that has settled", func(s dataplane.Status) bool {
		return time.Since(peer(s, "node-b").LastHandshake) > 6*time.Second
	})
	// A machine that stalls loses packets without any record's help.
	const attempts = 3
	for attempt := 1; ; attempt++ {
		s := startPaced(t, c)
		start := c.status("node-a")
		began := time.Now()
		s.reset()
		c.churn(t)
		took, churned := time.Since(began), s.reset()
		waited := time.NewTimer(took) // the same stream, as long, without changes
		<-waited.C
		quiet := s.reset()
		s.stop()
		end := c.status("node-a")

		t.Logf("attempt %d: %v with changes: %+v; without: %+v", attempt, took.Round(time.Millisecond), churned, quiet)
		if churned.bytes == 0 || quiet.bytes == 0 {
			t.Fatal("the stream stands still")
		}
		if was, is := peer(start, "node-b").LastHandshake, peer(end, "node-b").LastHandshake; !was.Equal(is) && is.Sub(was) < 115*time.Second {
			t.Errorf("the session with node-b shook hands again: %s, then %s", was, is)
		}
		if churned.lost() <= quiet.lost() {
			return
		}
		if attempt == attempts {
			t.Fatalf("changes cost segments in each of %d attempts", attempts)
		}
	}
}

// churn adds and removes 50 records one by one; each change is in force before
// the next.
func (c *cluster) churn(t *testing.T) {
	t.Helper()
	const nodes = 50
	path := func(i int) string { return filepath.Join(c.Records, fmt.Sprintf("node-x%02d.yaml", i)) }
	known := func(n int) func(dataplane.Status) bool {
		return func(s dataplane.Status) bool { return len(s.Peers) == 1+n && len(s.Tunnel.Peers) == 1+n }
	}
	for i := range nodes {
		key, err := wgkey.NewPrivateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("name: node-x%02d\npublicKey: %s\nendpoint: 192.0.2.%d:51871\nnodeIPs: [192.0.2.%d]\npodCIDRs: [10.244.%d.0/24]\n",
			i, key.Public(), 100+i, 100+i, 100+i)
		if err := os.WriteFile(path(i)+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path(i)+".new", path(i)); err != nil {
			t.Fatal(err)
		}
		c.await("node-a", fmt.Sprintf("%d more peers", i+1), known(i+1))
	}
	for i := range nodes {
		if err := os.Remove(path(i)); err != nil {
			t.Fatal(err)
		}
		c.await("node-a", fmt.Sprintf("%d peers fewer", i+1), known(nodes-1-i))
	}
}

// paced is a TCP stream between pods, slow enough that a stream alone loses
// nothing.
type paced struct {
	t          *testing.T
	conn       *net.TCPConn
	quit, done chan struct{}
	last       counts
}

type counts struct{ bytes, retransmissions, spurious uint64 }

func (c counts) lost() uint64 { return c.retransmissions - min(c.retransmissions, c.spurious) }

func startPaced(t *testing.T, c *cluster) *paced {
	t.Helper()
	to, err := c.Find("node-b/pod-1")
	if err != nil {
		t.Fatal(err)
	}
	l, err := to.Listen(t.Context(), "tcp", netip.AddrPortFrom(to.IPs[0], 0))
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	go func() {
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 1<<16)
		for {
			if _, err := conn.Read(b); err != nil {
				return
			}
		}
	}()
	conn, err := c.node("node-a").Pods[0].Dial(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	s := &paced{t: t, conn: conn.(*net.TCPConn), quit: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

// run writes 8 KiB every 5 ms: some 13 Mbit/s.
func (s *paced) run() {
	defer close(s.done)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	b := make([]byte, 8<<10)
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
		if _, err := s.conn.Write(b); err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.t.Errorf("the stream broke: %v", err)
			}
			return
		}
	}
}

func (s *paced) stop() {
	close(s.quit)
	<-s.done
	s.conn.Close()
}

// reset returns what was acknowledged and retransmitted since the last reset.
func (s *paced) reset() counts {
	s.t.Helper()
	raw, err := s.conn.SyscallConn()
	if err != nil {
		s.t.Fatal(err)
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
		s.t.Fatal(cerr, err)
	}
	now := counts{info.Bytes_acked, uint64(info.Total_retrans), uint64(info.Dsack_dups)}
	delta := counts{now.bytes - s.last.bytes, now.retransmissions - s.last.retransmissions, now.spurious - s.last.spurious}
	s.last = now
	return delta
}
