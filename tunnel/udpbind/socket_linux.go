package udpbind

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is one bound UDP socket. Its descriptor is non-blocking and stays
// open until close.
type socket struct {
	network string // "udp4" or "udp6"
	fd      int
	file    *os.File // owns fd; its deadline wakes the reader
	raw     syscall.RawConn
	drops   drops
	gro     bool
	gso     atomic.Bool // cleared for good when the kernel takes single datagrams but no trains

	overflow struct {
		sync.Mutex
		last uint32 // what kernelDrops returned last
	}

	live liveness
	// stop is closed to end a reader's back-off. It is replaced by resume, which
	// holds reading.
	stop chan struct{}

	// reading is held while a receive function runs, and guards what follows.
	reading    sync.Mutex
	generation int // a receive function of another generation is closed
	failures   int // reads that failed in a row
	inbox      inbox
	tryReceive func(fd uintptr) bool // for raw.Read: fills inbox unless it has to wait
	received   *counters
}

// openSocket opens a socket of one family, bound to port of every address.
// Port 0 lets the kernel choose.
func openSocket(network string, port uint16, o Options) (*socket, error) {
	family, any6 := unix.AF_INET, network == "udp6"
	if any6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("open a %s socket: %w", network, err)
	}
	var address unix.Sockaddr = &unix.SockaddrInet4{Port: int(port)}
	if any6 {
		address = &unix.SockaddrInet6{Port: int(port)}
	}
	s := &socket{network: network, fd: fd}
	err = s.setOptions(o)
	if err == nil {
		if err = unix.Bind(fd, address); err != nil {
			err = fmt.Errorf("bind %s port %d: %w", network, port, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	s.file = os.NewFile(uintptr(fd), network)
	if s.raw, err = s.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("poll a %s socket: %w", network, err), s.file.Close())
	}
	s.inbox.buffer = make([]byte, inboxSlots*slotSize)
	s.tryReceive = func(fd uintptr) bool { return s.inbox.receive(int(fd)) != unix.EAGAIN }
	return s, nil
}

// port is what the socket is bound to.
func (s *socket) port() (uint16, error) {
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		return 0, fmt.Errorf("read the port of a %s socket: %w", s.network, err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port), nil
	case *unix.SockaddrInet6:
		return uint16(a.Port), nil
	}
	return 0, fmt.Errorf("read the port of a %s socket: unexpected address %T", s.network, name)
}

// resume makes the socket readable, and returns the generation of the receive
// function that may read it.
func (s *socket) resume(now time.Time) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		return 0, fmt.Errorf("arm the %s socket: %w", s.network, err)
	}
	s.stop = make(chan struct{})
	s.generation++
	s.live.set(ReaderProcessing, now)
	return s.generation, nil
}

// pause ends the current generation: it wakes its reader and returns when that
// has left. What the kernel holds, and what was received and not delivered,
// waits for the next one.
func (s *socket) pause(now time.Time) error {
	close(s.stop)
	// A deadline in the past wakes a waiting reader and fails later waits.
	if err := s.file.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return fmt.Errorf("wake the reader of the %s socket: %w", s.network, err)
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	s.generation++
	s.live.set(ReaderClosed, now)
	return nil
}

// close closes the descriptor, after counting what is lost with it. The socket
// is paused, and nobody sends.
func (s *socket) close() error {
	s.reading.Lock()
	defer s.reading.Unlock()
	lost := s.inbox.discard()
	// Bounded, because more may arrive meanwhile.
	for range 4096 {
		if s.inbox.receive(s.fd) != 0 {
			break
		}
		lost += s.inbox.discard()
	}
	s.drops.add(DropSocketClosed, lost)
	s.countKernelDrops()
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close the %s socket: %w", s.network, err)
	}
	return nil
}

// duplicate returns the same open description under a descriptor of its own.
func (s *socket) duplicate() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate the %s socket: %w", s.network, err)
	}
	return os.NewFile(uintptr(fd), s.network), nil
}
