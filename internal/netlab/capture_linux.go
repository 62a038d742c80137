package netlab

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Count is frames and bytes. A frame is what the kernel passes on as one: up to
// 64 KiB where segmentation is left to the hardware, and there is no hardware.
type Count struct {
	Frames uint64 `json:"frames"`
	Bytes  uint64 `json:"bytes"` // with Ethernet headers
}

// Wire is what a capture saw on the underlay. Each frame between two nodes is
// counted once, where it enters the underlay from a node.
type Wire struct {
	WireGuard        Count `json:"wireguard"`
	PlaintextPod     Count `json:"plaintextPod"`
	PlaintextPodNode Count `json:"plaintextPodNode"`
	Malformed        Count `json:"malformed"`
	Other            Count `json:"other"`
	// Lost frames were dropped by the kernel because the capture did not keep
	// up. A capture that lost any proves nothing.
	Lost uint64 `json:"lost"`
	// Plaintext describes the first few frames of the plaintext classes.
	Plaintext []string `json:"plaintext,omitempty"`
}

// maxDescribed bounds Wire.Plaintext.
const maxDescribed = 5

func (w *Wire) add(class Class, text string, bytes int) {
	count := map[Class]*Count{WireGuard: &w.WireGuard, PlaintextPod: &w.PlaintextPod,
		PlaintextPodNode: &w.PlaintextPodNode, Malformed: &w.Malformed, Other: &w.Other}[class]
	count.Frames++
	count.Bytes += uint64(bytes)
	if (class == PlaintextPod || class == PlaintextPodNode) && len(w.Plaintext) < maxDescribed {
		w.Plaintext = append(w.Plaintext, text)
	}
}

// Capture watches every port of the underlay.
type Capture struct {
	socket     *os.File
	classifier *Classifier
	ports      map[int]bool // interface indexes of the nodes' ports
	wire       Wire         // the reader's until done is closed
	err        error        // likewise
	done       chan struct{}
}

// captureBuffer holds, in bytes, what arrives while the reader waits for a
// processor; a queued frame counts with all its pages.
const captureBuffer = 64 << 20

// Capture starts to watch the underlay; it is in place when Capture returns.
// The ports are those that the tunnels listen on. The caller calls Stop.
func (l *Lab) Capture(ports ...uint16) (*Capture, error) {
	c := &Capture{classifier: l.Classifier(ports...), ports: map[int]bool{}, done: make(chan struct{})}
	err := l.underlay.Do(func() error {
		for _, n := range l.Nodes {
			port, err := netlink.LinkByName(n.Name)
			if err != nil {
				return fmt.Errorf("find the port of %s: %w", n.Name, err)
			}
			c.ports[port.Attrs().Index] = true
		}
		return c.open()
	})
	if err != nil {
		return nil, fmt.Errorf("capture on the underlay of lab %s: %w", l.Run, err)
	}
	go c.read()
	return c, nil
}

// open makes a packet socket for all devices of the namespace, and for what
// they receive alone: a bridged frame is received once and sent once.
func (c *Capture) open() error {
	// Protocol 0 receives nothing until bind, when all is set up.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	c.socket = os.NewFile(uintptr(fd), "packet socket")
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL)})
	}
	if err != nil {
		c.socket.Close()
		return fmt.Errorf("set up a packet socket: %w", err)
	}
	return nil
}

// read counts frames until Stop's deadline has come and the queue is empty.
func (c *Capture) read() {
	defer close(c.done)
	conn, err := c.socket.SyscallConn()
	if err != nil {
		c.err = err
		return
	}
	head := make([]byte, headLength)
	for {
		var rerr error
		if err := conn.Read(func(fd uintptr) bool {
			rerr = c.drain(int(fd), head)
			return rerr != nil // nil: wait until there is more
		}); err != nil || rerr != nil {
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				c.err = fmt.Errorf("wait for frames: %w", err)
			}
			if rerr != nil {
				c.err = rerr
			}
			return
		}
	}
}

// drain counts the frames that are queued.
func (c *Capture) drain(fd int, head []byte) error {
	for {
		// With MSG_TRUNC the result is the frame's own length.
		n, from, err := unix.Recvfrom(fd, head, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read frames: %w", err)
		}
		// The bridge device itself receives too what is for the gateway.
		if at, ok := from.(*unix.SockaddrLinklayer); ok && c.ports[at.Ifindex] {
			class, text := c.classifier.describe(head[:min(n, len(head))])
			c.wire.add(class, text, n)
		}
	}
}

// Stop ends the capture and returns what it saw: every frame that entered the
// underlay before the call. It is called once.
func (c *Capture) Stop() (Wire, error) {
	defer c.socket.Close()
	if err := c.control(refuseAll); err != nil {
		return Wire{}, fmt.Errorf("stop the capture: %w", err)
	}
	if err := c.socket.SetReadDeadline(time.Now()); err != nil {
		return Wire{}, fmt.Errorf("stop the capture: %w", err)
	}
	<-c.done
	if c.err != nil {
		return c.wire, fmt.Errorf("capture on the underlay: %w", c.err)
	}
	err := c.control(func(fd int) error {
		// The deadline woke the reader; what was queued may still be there.
		if err := c.drain(fd, make([]byte, headLength)); err != nil {
			return err
		}
		stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err == nil {
			c.wire.Lost = uint64(stats.Drops)
		}
		return err
	})
	if err != nil {
		return c.wire, fmt.Errorf("stop the capture: %w", err)
	}
	return c.wire, nil
}

// refuseAll attaches a filter that lets no further frame into the queue.
func refuseAll(fd int) error {
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
}

func (c *Capture) control(fn func(fd int) error) error {
	conn, err := c.socket.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := conn.Control(func(fd uintptr) { err = fn(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }
