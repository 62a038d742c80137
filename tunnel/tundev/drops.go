package tundev

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgsteer/wgsteer/tunnel"
)

// Why packets end at the TUN. "Read" is out of the kernel, towards the peers.
const (
	// DropRingFull: the engine did not keep up, and the TUN's ring, txqueuelen
	// packets long, was full; counted by the kernel.
	DropRingFull tunnel.DropReason = "tun_ring_full"
	// DropReadSegments: a GSO packet had more segments than the engine takes at
	// once; the first ones were delivered. One count a GSO packet.
	DropReadSegments tunnel.DropReason = "tun_read_segments"
	// DropReadMalformed: the virtio-net header contradicts its packet.
	DropReadMalformed tunnel.DropReason = "tun_read_malformed"
	// DropReadError: the read system call failed.
	DropReadError tunnel.DropReason = "tun_read_error"
	// DropWriteDown: the link is down (EIO of the kernel's tun_get_user).
	DropWriteDown tunnel.DropReason = "tun_write_down"
	// DropWriteInvalid: the kernel refused the packet (EINVAL).
	DropWriteInvalid tunnel.DropReason = "tun_write_invalid"
	// DropWriteMemory: the kernel had no memory for the packet.
	DropWriteMemory tunnel.DropReason = "tun_write_memory"
	// DropWriteError: the write failed otherwise.
	DropWriteError tunnel.DropReason = "tun_write_error"
	// DropWriteClosed: the link is gone, or the queue was being closed.
	DropWriteClosed tunnel.DropReason = "tun_write_closed"
)

// Reasons are all reasons of this package; Stats has a count for each.
func Reasons() []tunnel.DropReason {
	return []tunnel.DropReason{
		DropRingFull, DropReadSegments, DropReadMalformed, DropReadError,
		DropWriteDown, DropWriteInvalid, DropWriteMemory, DropWriteError, DropWriteClosed,
	}
}

// drops counts by reason. The map is fixed when it is made, so that only its
// values are shared between goroutines.
type drops map[tunnel.DropReason]*atomic.Uint64

func newDrops() drops {
	d := make(drops)
	for _, r := range Reasons() {
		d[r] = new(atomic.Uint64)
	}
	return d
}

func (d drops) add(reason tunnel.DropReason, n int) { d[reason].Add(uint64(n)) }

func (d drops) snapshot() map[tunnel.DropReason]uint64 {
	s := make(map[tunnel.DropReason]uint64, len(d))
	for r, n := range d {
		s[r] = n.Load()
	}
	return s
}

// linkGone reports whether a system call on the descriptor failed because the
// link was deleted: the kernel detaches the descriptor, and wireguard-go makes
// os.ErrClosed of the EBADFD that follows.
func linkGone(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADFD) || errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENODEV)
}

func readReason(err error) tunnel.DropReason {
	var errno syscall.Errno
	switch {
	case errors.Is(err, tun.ErrTooManySegments):
		return DropReadSegments
	case errors.As(err, &errno):
		return DropReadError
	default: // NativeTun's own complaints about the packet
		return DropReadMalformed
	}
}

func writeReason(err error) tunnel.DropReason {
	switch {
	case linkGone(err):
		return DropWriteClosed
	case errors.Is(err, unix.EIO):
		return DropWriteDown
	case errors.Is(err, unix.EINVAL):
		return DropWriteInvalid
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
		return DropWriteMemory
	default:
		return DropWriteError
	}
}

// leaves calls each with the errors that errors.Join put together.
func leaves(err error, each func(error)) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		each(err)
		return
	}
	for _, e := range joined.Unwrap() {
		leaves(e, each)
	}
}
