package e2e_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/wgkey"
)

// TestPeersComeAndGoUnderTraffic: 50 records are added and removed one by one, twice,
// while a TCP stream runs. It retransmits no more than it does when nothing changes,
// and no session shakes hands again.
//
// Changes and silence take turns, as long as each other, that the moods of a shared
// machine meet both. An acknowledgement that comes some 8 ms late is a retransmission
// already: TCP probes (RFC 8985) for what was never lost. That happens where two
// daemons, this test and others share two cores, so retransmissions are counted by
// moments: many at once are one delay. An excess is none below three standard
// deviations of the difference of two such counts (Poisson: the root of their sum):
// where silence has 8 of them, the changes may have 25. One measurement in 700 is
// beyond that by chance, and more where the machine's mood changes in the midst of it;
// so it is of three that one has to be below. What changes cost, each shows.
func TestPeersComeAndGoUnderTraffic(t *testing.T) {
	c := upWith(t, plain, netlab.Options{Families: []int{4}})
	c.settled("node-a", "node-b")
	start := c.status("node-a")
	s := startPaced(t, c)
	s.reset()
	const attempts = 3
	var changed, quiet counts
	for attempt := range attempts {
		changed, quiet = c.inTurns(t, s)
		t.Logf("with changes %+v, without %+v", changed, quiet)
		if changed.bytes == 0 || quiet.bytes == 0 {
			t.Fatal("the stream stands still")
		}
		if attempt == 0 {
			c.unshaken(start)
		}
		if !exceeds(changed.lost(), quiet.lost()) && !exceeds(changed.moments, quiet.moments) {
			break
		}
	}
	s.stop()
	if exceeds(changed.lost(), quiet.lost()) {
		t.Errorf("%d changes cost segments: %d with them, %d without", passes*2*nodes, changed.lost(), quiet.lost())
	}
	if exceeds(changed.moments, quiet.moments) {
		t.Errorf("%d changes cost retransmissions: at %d moments with them, at %d without", passes*2*nodes, changed.moments, quiet.moments)
	}
}

const passes = 2

// inTurns counts what comes of a stream with changes and without.
func (c *cluster) inTurns(t *testing.T, s *paced) (changed, quiet counts) {
	const parts = 5
	for turn := range passes * parts {
		part := turn % parts
		began := time.Now()
		c.churn(t, part*nodes/parts, (part+1)*nodes/parts)
		took := time.Since(began)
		changed.add(s.reset())
		c.poll("node-a", took)
		quiet.add(s.reset())
	}
	return changed, quiet
}

// unshaken fails if the session with node-b began anew before it had to.
func (c *cluster) unshaken(start dataplane.Status) {
	c.t.Helper()
	was, is := peer(start, "node-b").LastHandshake, peer(c.status("node-a"), "node-b").LastHandshake
	if !was.Equal(is) && is.Sub(was) < 115*time.Second {
		c.t.Errorf("the session with node-b shook hands again: %s, then %s", was, is)
	}
}

// exceeds says whether with is more than without by more than chance.
func exceeds(with, without uint64) bool {
	return float64(with)-float64(without) > 3*math.Sqrt(float64(with+without))
}

const nodes = 50

// churn adds and removes the records from first to before end, one by one; each
// change is in force before the next.
func (c *cluster) churn(t *testing.T, first, end int) {
	t.Helper()
	path := func(i int) string { return filepath.Join(c.Records, fmt.Sprintf("node-x%02d.yaml", i)) }
	known := func(n int) func(dataplane.Status) bool {
		return func(s dataplane.Status) bool { return len(s.Peers) == 1+n && len(s.Tunnel.Peers) == 1+n }
	}
	for i := first; i < end; i++ {
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
		c.await("node-a", fmt.Sprintf("%d more peers", i+1-first), known(i+1-first))
	}
	for i := first; i < end; i++ {
		if err := os.Remove(path(i)); err != nil {
			t.Fatal(err)
		}
		c.await("node-a", fmt.Sprintf("%d peers fewer", i+1-first), known(end-1-i))
	}
}

// poll asks a node's daemon for its status as often as await does: that is work
// as well.
func (c *cluster) poll(name string, during time.Duration) {
	c.t.Helper()
	end := time.Now().Add(during)
	c.await(name, "nothing", func(dataplane.Status) bool { return time.Now().After(end) })
}

// paced is a TCP stream between pods, slow enough that a stream alone loses
// nothing.
type paced struct {
	t          *testing.T
	conn       *net.TCPConn
	quit, done chan struct{}
	moments    atomic.Uint64
	last       counts
}

// apart are two moments at least: what is retransmitted for one delay is, sooner.
const apart = 100 * time.Millisecond

// counts are what was acknowledged and retransmitted, and at how many moments.
// Spurious retransmissions were reported as duplicates (DSACK, RFC 2883): nothing
// had been lost.
type counts struct{ bytes, retransmissions, spurious, moments uint64 }

func (c counts) lost() uint64 { return c.retransmissions - min(c.retransmissions, c.spurious) }

func (c *counts) add(d counts) {
	c.bytes += d.bytes
	c.retransmissions += d.retransmissions
	c.spurious += d.spurious
	c.moments += d.moments
}

func (c counts) less(d counts) counts {
	return counts{c.bytes - d.bytes, c.retransmissions - d.retransmissions, c.spurious - d.spurious, c.moments - d.moments}
}

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
	var seen uint32
	var moment time.Time
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
		info, err := s.info()
		if err != nil {
			s.t.Errorf("look at the stream: %v", err)
			return
		}
		if info.Total_retrans != seen {
			if time.Since(moment) >= apart {
				s.moments.Add(1)
			}
			seen, moment = info.Total_retrans, time.Now()
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

// reset returns what came since the last reset.
func (s *paced) reset() counts {
	s.t.Helper()
	info, err := s.info()
	if err != nil {
		s.t.Fatal(err)
	}
	now := counts{info.Bytes_acked, uint64(info.Total_retrans), uint64(info.Dsack_dups), s.moments.Load()}
	delta := now.less(s.last)
	s.last = now
	return delta
}

func (s *paced) info() (info *unix.TCPInfo, err error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlled := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return info, errors.Join(controlled, err)
}
