package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// headLength is as much of a frame as is read, in bytes: room for headers
// within headers and for WireGuard's.
const headLength = 512

// captureBuffer holds, in bytes, what arrives while the reader waits for a
// processor; a queued frame counts with all its pages.
const captureBuffer = 64 << 20

// Frame is one frame that a device sent or received.
type Frame struct {
	Device   int // its index
	Outgoing bool
	// Ethernet says that Head begins with an Ethernet header; otherwise it begins
	// with the header of Protocol, an EtherType.
	Ethernet bool
	Protocol uint16
	Head     []byte // the beginning; valid until the function that got it returns
	Length   int    // of the whole frame, in bytes
}

// Capture is a packet socket: what all devices of a network namespace send,
// behind their tc egress programs, and receive, before their tc ingress ones.
type Capture struct {
	socket *os.File
}

// Options shape a Capture.
type Options struct {
	// ReceivedOnly leaves out what devices send.
	ReceivedOnly bool
}

// Open begins a capture in the network namespace of the calling thread: it is in
// place when Open returns. The caller calls Run, once, or Close.
func Open(o Options) (*Capture, error) {
	// Protocol 0 receives nothing until bind, when all is set up.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, explainSocket(err)
	}
	c := &Capture{os.NewFile(uintptr(fd), "packet socket")}
	// Beyond rmem_max with CAP_NET_ADMIN only; without it the kernel gives what it
	// may, and a capture that is too slow says what it lost.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, captureBuffer)
	}
	if err == nil && o.ReceivedOnly {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swapped(unix.ETH_P_ALL)})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up a packet socket: %w", err), c.socket.Close())
	}
	return c, nil
}

func explainSocket(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("open a packet socket: this needs CAP_NET_RAW: run as root, or give the container that capability: %w", err)
	}
	return fmt.Errorf("open a packet socket: %w", err)
}

// Close ends a capture that was not run.
func (c *Capture) Close() error { return c.socket.Close() }

// SyscallConn is the socket.
func (c *Capture) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// Run hands frames to see until ctx ends, and then those that came before that.
// Lost is how many frames the kernel dropped because see did not keep up: a
// capture that lost any proves nothing. The end of ctx is no error.
func (c *Capture) Run(ctx context.Context, see func(Frame)) (lost uint64, err error) {
	defer c.socket.Close()
	conn, err := c.socket.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("capture: %w", err)
	}
	refused := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		err := control(conn, refuseAll)
		refused <- errors.Join(err, c.socket.SetReadDeadline(time.Now()))
	})
	head := make([]byte, headLength)
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		failed = drain(int(fd), head, see)
		return failed != nil // nil: wait until there is more
	})
	if stop() { // ctx has not ended, so reading failed by itself
		return 0, fmt.Errorf("capture: %w", errors.Join(err, failed))
	}
	if err := errors.Join(<-refused, failed); err != nil {
		return 0, fmt.Errorf("capture: %w", err)
	}
	err = control(conn, func(fd int) error {
		// The deadline woke the reader; what was queued may still be there.
		if err := drain(fd, head, see); err != nil {
			return err
		}
		stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err == nil {
			lost = uint64(stats.Drops)
		}
		return err
	})
	if err != nil {
		return lost, fmt.Errorf("end the capture: %w", err)
	}
	return lost, nil
}

// drain hands over the frames that are queued.
func drain(fd int, head []byte, see func(Frame)) error {
	for {
		// With MSG_TRUNC the result is the frame's own length.
		n, from, err := unix.Recvfrom(fd, head, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN): // some device was set down
			continue
		case err != nil:
			return fmt.Errorf("read frames: %w", err)
		}
		if at, ok := from.(*unix.SockaddrLinklayer); ok {
			see(Frame{
				Device: at.Ifindex, Outgoing: at.Pkttype == unix.PACKET_OUTGOING,
				Ethernet: at.Hatype == unix.ARPHRD_ETHER || at.Hatype == unix.ARPHRD_LOOPBACK,
				Protocol: swapped(at.Protocol), Head: head[:min(n, len(head))], Length: n,
			})
		}
	}
}

// refuseAll attaches a filter that lets no further frame into the queue.
func refuseAll(fd int) error {
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
}

func control(conn syscall.RawConn, fn func(fd int) error) error {
	var err error
	if cerr := conn.Control(func(fd uintptr) { err = fn(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// swapped turns host byte order into network byte order and back, on the little
// endian machines that the programs are built for.
func swapped(v uint16) uint16 { return v<<8 | v>>8 }
