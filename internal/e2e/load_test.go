package e2e_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// load is traffic that goes on whatever becomes of it: datagrams and a TCP stream
// each way between pods of node-a and node-b, and datagrams from each pod to the
// other node and back, in each family.
type load struct {
	t      *testing.T
	ways   []*way
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// way is one direction of a load.
type way struct {
	from, to netlab.Endpoint
	at       netip.AddrPort
	sent     atomic.Uint64 // datagrams; their numbers
	heard    atomic.Uint64 // the highest number that arrived
}

func (w *way) String() string {
	return fmt.Sprintf("%s > %s (%v)", w.from.Name, w.to.Name, w.at.Addr())
}

// pace is how much of it there is.
type pace struct {
	every time.Duration // between datagrams of a way
	chunk int           // bytes that a stream writes as often
}

var (
	light = pace{4 * time.Millisecond, 1 << 10}
	heavy = pace{500 * time.Microsecond, 32 << 10}
)

// startLoad starts a load, which ends with the test.
func startLoad(t *testing.T, c *cluster, p pace) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background()) // until stop
	l := &load{t: t, cancel: cancel}
	t.Cleanup(l.stop)
	pods, nodes := ends(t, c, "/pod-1"), ends(t, c, "")
	for i, other := range []int{1, 0} {
		for _, family := range c.Families {
			l.start(ctx, c, p, pods[i], pods[other], family, true)
			l.start(ctx, c, p, pods[i], nodes[other], family, false)
			l.start(ctx, c, p, nodes[i], pods[other], family, false)
		}
	}
	return l
}

func ends(t *testing.T, c *cluster, suffix string) []netlab.Endpoint {
	t.Helper()
	var found []netlab.Endpoint
	for _, name := range []string{"node-a", "node-b"} {
		e, err := c.Find(name + suffix)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, e)
	}
	return found
}

// loadPort is the first port of a load; each way has two.
const loadPort = 7000

func (l *load) start(ctx context.Context, c *cluster, p pace, from, to netlab.Endpoint, family int, stream bool) {
	l.t.Helper()
	ip, err := to.IP(family)
	if err != nil {
		l.t.Fatal(err)
	}
	w := &way{from: from, to: to, at: netip.AddrPortFrom(ip, uint16(loadPort+2*len(l.ways)))}
	l.ways = append(l.ways, w)
	socket, err := to.ListenPacket(ctx, "udp", w.at)
	if err != nil {
		l.t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { socket.Close() })
	l.done.Go(func() { hear(socket, &w.heard) })
	l.done.Go(func() { w.sendDatagrams(ctx, p.every) })
	if !stream {
		return
	}
	streamAt := netip.AddrPortFrom(ip, w.at.Port()+1)
	listener, err := to.Listen(ctx, "tcp", streamAt)
	if err != nil {
		l.t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	l.done.Go(func() { swallow(ctx, &l.done, listener) })
	l.done.Go(func() { sendStream(ctx, from, streamAt, p) })
}

// sendDatagrams goes on after errors: while nothing gets through they are expected, and
// one that the kernel refuses, as by an unreachable route, counts as sent.
func (w *way) sendDatagrams(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var conn net.Conn
	for {
		select {
		case <-ctx.Done():
			if conn != nil {
				conn.Close()
			}
			return
		case <-tick.C:
		}
		if conn == nil {
			conn, _ = w.from.Dial(ctx, "udp", w.at) // without a route there is no socket: again
		}
		n := w.sent.Add(1)
		if conn != nil {
			_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, n))
		}
	}
}

// sendStream writes to one connection after another: each until it breaks.
func sendStream(ctx context.Context, from netlab.Endpoint, to netip.AddrPort, p pace) {
	chunk := make([]byte, p.chunk)
	for ctx.Err() == nil {
		dial, cancel := context.WithTimeout(ctx, 2*time.Second)
		conn, err := from.Dial(dial, "tcp", to)
		cancel()
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(p.every):
			}
			continue
		}
		writeAll(ctx, conn, chunk, p.every)
	}
}

// writeAll writes chunks until that fails, or ctx ends.
func writeAll(ctx context.Context, conn net.Conn, chunk []byte, every time.Duration) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if _, err := conn.Write(chunk); err != nil {
			return
		}
		<-tick.C
	}
}

// swallow reads all that comes by any connection.
func swallow(ctx context.Context, done *sync.WaitGroup, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		done.Go(func() {
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			defer conn.Close()
			buffer := make([]byte, 64<<10)
			for {
				if _, err := conn.Read(buffer); err != nil {
					return
				}
			}
		})
	}
}

// stop ends the load and waits for it; twice is no harm.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// mark is how much of each way was sent.
func (l *load) mark() []uint64 {
	var marks []uint64
	for _, w := range l.ways {
		marks = append(marks, w.sent.Load())
	}
	return marks
}

// deaf are the ways on which nothing arrived that was sent after the marks.
func (l *load) deaf(marks []uint64) []string {
	var deaf []string
	for i, w := range l.ways {
		if w.heard.Load() <= marks[i] {
			deaf = append(deaf, w.String())
		}
	}
	return deaf
}

// awaitAll waits until something that was sent after the marks has arrived on every
// way, and returns how long that took.
func (l *load) awaitAll(c *cluster, what string, marks []uint64) time.Duration {
	l.t.Helper()
	start := time.Now()
	var deaf []string
	for len(l.deaf(marks)) > 0 {
		if time.Since(start) > time.Minute {
			deaf = l.deaf(marks)
			l.t.Fatalf("%s: not within a minute on %q; node-a: %+v; node-b: %+v", what, deaf, c.status("node-a").Reasons, c.status("node-b").Reasons)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(start)
}

// awaitSent waits until each way has sent so many datagrams more than the marks.
func (l *load) awaitSent(c *cluster, more uint64, marks []uint64) {
	l.t.Helper()
	c.until(fmt.Sprintf("%d datagrams on each way", more), func() bool {
		return !slices.ContainsFunc(l.ways, func(w *way) bool {
			return w.sent.Load() < marks[slices.Index(l.ways, w)]+more
		})
	})
}
