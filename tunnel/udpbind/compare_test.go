package udpbind_test

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// loads are what a sender hands over at a time, as the engine does: each
// message in a buffer of 64 KiB, into which StdNetBind gathers a train.
var loads = []struct {
	name  string
	round int // datagrams in a round: tens of milliseconds on an idle machine
	batch [][]byte
}{
	{"bulk", 60_000, roomy(slices.Repeat([]int{1452}, 128)...)},
	{"trains of 12 and a short one", 60_000, roomy(slices.Repeat(append(repeat(1452, 12), 400), 9)...)},
	{"single small", 5_000, roomy(128)},
	{"mixed", 10_000, roomy(slices.Repeat([]int{80, 144, 1452, 80, 600, 1452, 1452, 128}, 16)...)},
}

func roomy(sizes ...int) [][]byte {
	all := messages(sizes...)
	for i, m := range all {
		all[i] = append(make([]byte, 0, 1<<16-1), m...)
	}
	return all
}

// link is a sender and a receiver of one kind over loopback.
type link struct {
	tb       testing.TB
	sender   conn.Bind
	to       conn.Endpoint
	received atomic.Int64
	sent     int64
	// progress has room for one: a receiver that finds it full need not say
	// more.
	progress chan struct{}
}

func newLink(tb testing.TB, newBind func() conn.Bind) *link {
	tb.Helper()
	l := &link{tb: tb, sender: newBind(), progress: make(chan struct{}, 1)}
	receiver := newBind()
	functions, port, err := receiver.Open(0)
	if err != nil {
		tb.Fatal(err)
	}
	var readers sync.WaitGroup
	for _, f := range functions {
		readers.Go(func() { l.count(f, receiver.BatchSize()) })
	}
	if _, _, err := l.sender.Open(0); err != nil {
		tb.Fatal(err)
	}
	if l.to, err = l.sender.ParseEndpoint(net.JoinHostPort("127.0.0.1", fmt.Sprint(port))); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, b := range []conn.Bind{l.sender, receiver} {
			if err := b.Close(); err != nil {
				tb.Error(err)
			}
			if ours, ok := b.(*udpbind.Bind); ok {
				if err := ours.Shutdown(); err != nil {
					tb.Error(err)
				}
			}
		}
		readers.Wait()
	})
	return l
}

func (l *link) count(receive conn.ReceiveFunc, batch int) {
	packets, sizes, endpoints := buffers(batch)
	for {
		n, err := receive(packets, sizes, endpoints)
		if err != nil {
			return
		}
		arrived := 0
		for _, size := range sizes[:n] {
			if size > 0 {
				arrived++
			}
		}
		l.received.Add(int64(arrived))
		select {
		case l.progress <- struct{}{}:
		default:
		}
	}
}

// push sends the batch, and waits while too many datagrams are on their way.
func (l *link) push(batch [][]byte) {
	const window = 1024
	if err := l.sender.Send(batch, l.to); err != nil {
		l.tb.Fatal(err)
	}
	l.sent += int64(len(batch))
	l.wait(window)
}

// run sends the batch so many times and waits until all have arrived.
func (l *link) run(batch [][]byte, times int) {
	for range times {
		l.push(batch)
	}
	l.wait(0)
}

func (l *link) wait(outstanding int64) {
	for l.sent-l.received.Load() > outstanding {
		select {
		case <-l.progress:
		case <-time.After(patience):
			l.tb.Fatalf("%d of %d datagrams arrived", l.received.Load(), l.sent)
		}
	}
}

func stock() conn.Bind { return conn.NewStdNetBind() }
func ours() conn.Bind  { return udpbind.New(udpbind.Options{}) }

// TestNotSlowerThanStock compares with wireguard-go's StdNetBind, in
// interleaved rounds: what counts is the ratio of the medians in one run.
func TestNotSlowerThanStock(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	const (
		want     = 0.85
		attempts = 3
		rounds   = 9
	)
	for _, load := range loads {
		t.Run(load.name, func(t *testing.T) {
			links := []*link{newLink(t, stock), newLink(t, ours)}
			times := load.round / len(load.batch)
			var ratio float64
			for range attempts {
				var took [2][]time.Duration
				for round := range rounds {
					for i := range links {
						which := (i + round) % 2 // A B, B A
						runtime.GC()
						start := time.Now()
						links[which].run(load.batch, times)
						took[which] = append(took[which], time.Since(start))
					}
				}
				ratio = float64(median(took[0])) / float64(median(took[1]))
				t.Logf("speed is %.2f x stock: %v, stock %v for %d datagrams",
					ratio, median(took[1]), median(took[0]), times*len(load.batch))
				if ratio >= want {
					return
				}
			}
			t.Errorf("speed is %.2f x stock in the last of %d attempts, want %.2f", ratio, attempts, want)
		})
	}
}

func median(d []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(d))[len(d)/2]
}

// BenchmarkBind sends over loopback and waits for arrival; bytes are payload.
func BenchmarkBind(b *testing.B) {
	for _, load := range loads {
		for _, kind := range []struct {
			name    string
			newBind func() conn.Bind
		}{{"stock", stock}, {"ours", ours}} {
			b.Run(fmt.Sprintf("load=%s/bind=%s", load.name, kind.name), func(b *testing.B) {
				l := newLink(b, kind.newBind)
				b.SetBytes(bytesOf(load.batch))
				b.ReportAllocs()
				l.run(load.batch, 100)
				for b.Loop() {
					l.push(load.batch)
				}
				perDatagram(b, len(load.batch))
				l.wait(0)
			})
		}
	}
}
