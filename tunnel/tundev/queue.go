package tundev

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgsteer/wgsteer/tunnel"
)

// errorPause keeps a read that goes on failing from taking a processor.
const (
	errorsBeforePause = 16
	errorPause        = 10 * time.Millisecond
)

// Queue is the TUN as one engine sees it; it implements wireguard-go's
// tun.Device. The engine may use all methods concurrently, Read in one
// goroutine.
type Queue struct {
	owner  *TUN
	native tun.Device // works on a duplicate of the owner's descriptor
	events chan tun.Event
	closed chan struct{}

	mu       sync.Mutex // guards closing, and events against being closed
	isClosed bool
}

// Queue opens the TUN for an engine. There is one at a time: a second one
// fails until the first is closed.
func (t *TUN) Queue() (*Queue, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, fmt.Errorf("open a queue of %s: %w", t.name, os.ErrClosed)
	}
	if t.queue != nil {
		return nil, fmt.Errorf("open a queue of %s: another engine has it", t.name)
	}
	fd, err := unix.FcntlInt(uintptr(t.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate the descriptor of %s: %w", t.name, err)
	}
	// NativeTun asks for the same offloads again, starts no goroutine and leaves
	// name, MTU and address alone. It owns fd from here, also when it fails.
	native, _, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		return nil, fmt.Errorf("set up the queue of %s: %w", t.name, err)
	}
	t.queue = &Queue{owner: t, native: native, events: make(chan tun.Event, 1), closed: make(chan struct{})}
	return t.queue, nil
}

// Read implements tun.Device. It delivers what one read of the kernel gave, as
// segments, and fails with os.ErrClosed alone: once the queue is closed. After
// the link is gone it waits for that.
func (q *Queue) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for failed := 0; ; failed++ {
		n, err := q.native.Read(bufs, sizes, offset)
		q.owner.progress.Add(1)
		if n > 0 {
			q.owner.countRead(bufs[0][offset:], sizes[:n])
		}
		for i := range n {
			mendChecksum(bufs[i][offset : offset+sizes[i]])
		}
		switch {
		case q.isDone():
			err = os.ErrClosed
		case err == nil:
		case linkGone(err):
			q.owner.markGone()
			<-q.closed
			err = os.ErrClosed
		default:
			q.owner.drops.add(readReason(err), 1)
			if errors.Is(err, unix.EIO) { // between the link's end and the descriptor's
				_ = q.owner.Refresh()
			}
			err = nil
		}
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		if failed >= errorsBeforePause {
			select {
			case <-q.closed:
			case <-time.After(errorPause):
			}
		}
	}
}

// Write implements tun.Device. It never fails: what the kernel does not take
// is a counted drop. It may change the slices in bufs and their content.
func (q *Queue) Write(bufs [][]byte, offset int) (int, error) {
	// NativeTun's coalescing tables end after BatchSize flows; the engine's
	// batches follow the larger of both ends.
	for rest := bufs; len(rest) > 0; {
		n := min(len(rest), q.native.BatchSize())
		q.writeBatch(rest[:n], offset)
		rest = rest[n:]
	}
	return len(bufs), nil
}

func (q *Queue) writeBatch(bufs [][]byte, offset int) {
	q.owner.countWrite(bufs, offset)
	written, err := q.native.Write(bufs, offset)
	if err == nil {
		return
	}
	if linkGone(err) && !q.isDone() {
		q.owner.markGone()
	}
	if written == 0 { // nothing got through, whatever was coalesced with what
		var reason tunnel.DropReason
		leaves(err, func(e error) { reason = writeReason(e) })
		q.owner.drops.add(reason, len(bufs))
		return
	}
	// A part failed; NativeTun does not say how many packets it had coalesced
	// into each of those writes, so that a coalesced one counts as one.
	leaves(err, func(e error) { q.owner.drops.add(writeReason(e), 1) })
}

// BatchSize implements tun.Device.
func (q *Queue) BatchSize() int { return q.native.BatchSize() }

// MTU implements tun.Device.
func (q *Queue) MTU() (int, error) {
	link, err := q.owner.Link()
	return link.MTU, err
}

// Name implements tun.Device.
func (q *Queue) Name() (string, error) { return q.owner.name, nil }

// File implements tun.Device; the file is the queue's.
func (q *Queue) File() *os.File { return q.native.File() }

// Events implements tun.Device: it tells changes of the MTU. Whether the
// engine is up is not the link's matter but its user's.
func (q *Queue) Events() <-chan tun.Event { return q.events }

// Close implements tun.Device: it ends Read and Events. The TUN stays. It may
// be called twice.
func (q *Queue) Close() error {
	q.owner.mu.Lock()
	defer q.owner.mu.Unlock()
	return q.closeLocked()
}

// closeLocked is called with the owner's lock held.
func (q *Queue) closeLocked() error {
	q.mu.Lock()
	if q.isClosed {
		q.mu.Unlock()
		return nil
	}
	q.isClosed = true
	close(q.events)
	close(q.closed)
	q.mu.Unlock()
	if q.owner.queue == q {
		q.owner.queue = nil
	}
	return q.native.Close()
}

func (q *Queue) isDone() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.isClosed
}

// mtuChanged tells the engine; one notice is enough for several changes.
func (q *Queue) mtuChanged() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isClosed {
		return
	}
	select {
	case q.events <- tun.EventMTUUpdate:
	default:
	}
}
