package udpbind

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// receiver returns the receive function of one generation of the socket. It
// fails with net.ErrClosed alone, when the generation has ended, and otherwise
// returns at least one datagram. Every datagram passes deliver, one by one.
func (s *socket) receiver(generation int, now func() time.Time) conn.ReceiveFunc {
	return func(packets [][]byte, sizes []int, endpoints []conn.Endpoint) (int, error) {
		s.reading.Lock()
		defer s.reading.Unlock()
		if s.generation != generation {
			return 0, net.ErrClosed
		}
		s.live.set(ReaderWaiting, now())
		for {
			if n := s.deliver(packets, sizes, endpoints); n > 0 {
				s.live.returned(now())
				return n, nil
			}
			if err := s.fill(); err != nil {
				return 0, err
			}
		}
	}
}

// deliver copies messages from the inbox to the caller until either is empty
// or full. It leaves no holes, and an order of arrival.
func (s *socket) deliver(packets [][]byte, sizes []int, endpoints []conn.Endpoint) (n int) {
	var t tally
	for n < len(packets) {
		datagram, from, lost, count, ok := s.inbox.take()
		if !ok {
			break
		}
		if lost != "" {
			s.drops.add(lost, count)
			continue
		}
		k := kindOf(datagram)
		switch {
		case k == notWireGuard:
			s.drops.add(DropNotWireGuard, 1)
			continue
		case len(datagram) > len(packets[n]):
			s.drops.add(DropTruncated, 1)
			continue
		}
		sizes[n] = copy(packets[n], datagram)
		endpoints[n] = from
		t.add(k, len(datagram))
		n++
	}
	if n > 0 {
		s.received.add(t)
	}
	return n
}

// fill waits until there is something to deliver, or reading failed; it
// returns net.ErrClosed when the generation ends. Failures are counted, and
// slowed down when they persist.
func (s *socket) fill() error {
	err := s.raw.Read(s.tryReceive)
	errno := s.inbox.errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return net.ErrClosed
	case err == nil && errno == unix.EINTR:
		return nil
	case err == nil && errno == 0:
		if s.failures > 0 {
			s.failures = 0
			s.live.recovered()
		}
		return nil
	case err == nil:
		err = os.NewSyscallError("recvmmsg", errno)
	}
	s.failures++
	s.drops.add(DropReceiveError, 1)
	s.live.failed(err, s.failures >= failuresToReport)
	pause := backOff(s.failures)
	if pause == 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-s.stop:
		return net.ErrClosed
	case <-timer.C:
		return nil
	}
}

// liveness is what Stats says about a reader.
type liveness struct {
	mu     sync.Mutex
	reader Reader // all but Network
}

func (l *liveness) set(state ReaderState, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reader.State, l.reader.Since = state, now
}

func (l *liveness) returned(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reader.State, l.reader.Since, l.reader.LastReturn = ReaderProcessing, now, now
}

func (l *liveness) failed(err error, failing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reader.LastError, l.reader.Failing = err.Error(), failing
}

func (l *liveness) recovered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reader.Failing = false
}

func (l *liveness) snapshot(network string) Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.reader
	r.Network = network
	return r
}
