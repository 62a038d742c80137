package udpbind

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
)

// sendReason names the drop of a datagram that sendmmsg refused with err.
func sendReason(err unix.Errno) tunnel.DropReason {
	switch err {
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.EHOSTDOWN, unix.ENODEV, unix.ENXIO, unix.EADDRNOTAVAIL:
		return DropSendUnreachable
	case unix.ECONNREFUSED:
		return DropSendRefused
	case unix.EPERM, unix.EACCES:
		return DropSendForbidden
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		return DropSendBuffer
	case unix.EMSGSIZE:
		return DropSendTooBig
	case unix.EINVAL:
		return DropSendInvalid
	}
	return DropSendError
}

// remedy is what to try before a message that the kernel refused is dropped.
type remedy int

const (
	giveUp      remedy = iota
	repeat             // interrupted: the same again
	waitForRoom        // the send buffer is full
	forgetSource
	sendPlain // without UDP_SEGMENT
)

// attempt describes the message that was refused.
type attempt struct {
	sourced bool // it had a sticky source
	train   bool // it had UDP_SEGMENT
}

// remedyFor decides on an error of sendmmsg about its first message. A stale
// source (its address or interface is gone, or has no route there) is EINVAL
// from __ip_dev_find or ipv6_chk_addr, ENODEV, EADDRNOTAVAIL or ENETUNREACH; a
// train that cannot be cut is EIO (a transform or, in older kernels, a device
// without checksum offload), or EINVAL or EMSGSIZE (segments longer than the
// path's MTU), all in udp_send_skb. EINVAL is either, so the source, which the
// peer's next datagram brings back, goes first.
func remedyFor(err unix.Errno, a attempt) remedy {
	switch err {
	case unix.EINTR:
		return repeat
	case unix.EAGAIN:
		return waitForRoom
	case unix.ENODEV, unix.EADDRNOTAVAIL, unix.ENETUNREACH:
		if a.sourced {
			return forgetSource
		}
	case unix.EINVAL:
		if a.sourced {
			return forgetSource
		}
		if a.train {
			return sendPlain
		}
	case unix.EIO, unix.EMSGSIZE:
		if a.train {
			return sendPlain
		}
	}
	return giveUp
}

// failuresToReport is how many reads have to fail in a row before the reader
// counts as failing and slows down: single errors are about single datagrams.
const failuresToReport = 4

// backOff is how long to wait after so many failures in a row: nothing at
// first, then 1 ms doubling up to 1 s, so that an error that persists neither
// spins nor outlives its cause by more than a second.
func backOff(failures int) time.Duration {
	if failures < failuresToReport {
		return 0
	}
	return min(time.Millisecond<<min(failures-failuresToReport, 10), time.Second)
}
