package udpbind_test

import (
	"sync"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// TestNothingIsLostWhileReadersComeAndGo closes and opens a Bind under traffic
// from several goroutines, as changes of the listen port do.
func TestNothingIsLostWhileReadersComeAndGo(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	const senders, batches = 4, 50
	batch := messages(append(repeat(80, 50), repeat(96, 14)...)...)
	a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	to := b.at("127.0.0.1")
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for range batches {
				if err := a.Send(batch, to); err != nil {
					t.Error(err)
				}
				a.Stats()
				b.Stats()
			}
		})
	}
	done := make(chan struct{})
	go func() { sending.Wait(); close(done) }()
	reopened := 0
	for running := true; running; reopened++ {
		b.close()
		b.open(0)
		select {
		case <-done:
			running = false
		default:
		}
	}
	all := senders * batches * len(batch)
	b.expect(all)
	t.Logf("reopened %d times", reopened)
	for _, e := range []*end{a, b} {
		if d := nonZero(e.Stats().Drops); len(d) > 0 {
			t.Errorf("drops %v", d)
		}
	}
	if s := a.Stats(); s.Sent.Transport != uint64(all) || s.Offered != s.Sent {
		t.Errorf("offered %+v, sent %+v, want %d", s.Offered, s.Sent, all)
	}
	if s := b.Stats(); s.Received.Transport != uint64(all) {
		t.Errorf("received %+v, want %d", s.Received, all)
	}
}
