package udpbind

import (
	"sync/atomic"

	"github.com/wgsteer/wgsteer/tunnel"
)

// Why a datagram ended here. Reasons with "send" count datagrams that did not
// leave; the others count datagrams that did not reach the engine.
const (
	// DropReceiveBuffer: the kernel dropped it at the socket, because the receive
	// buffer was full or its checksum wrong.
	DropReceiveBuffer tunnel.DropReason = "udp_receive_buffer"
	// DropReceiveError: reading failed; the count is of failures, each of which
	// cost at most one datagram.
	DropReceiveError tunnel.DropReason = "udp_receive_error"
	// DropTruncated: it, or the train it came in, did not fit the buffer.
	DropTruncated tunnel.DropReason = "udp_truncated"
	// DropNotWireGuard: no WireGuard message has this type and length.
	DropNotWireGuard tunnel.DropReason = "udp_not_wireguard"
	// DropSocketClosed: it was still queued when its socket was closed, by a
	// change of port or by Shutdown.
	DropSocketClosed tunnel.DropReason = "udp_socket_closed"

	// DropSendClosed: it was sent while the Bind was closed.
	DropSendClosed tunnel.DropReason = "udp_send_closed"
	// DropSendFamily: the host has no socket of the endpoint's address family,
	// or the endpoint is none of ours.
	DropSendFamily tunnel.DropReason = "udp_send_family"
	// DropSendUnreachable: no route, or the link or the host is down.
	DropSendUnreachable tunnel.DropReason = "udp_send_unreachable"
	// DropSendRefused: the remote host said that nobody listens.
	DropSendRefused tunnel.DropReason = "udp_send_refused"
	// DropSendForbidden: a firewall rule or a prohibit route of this host.
	DropSendForbidden tunnel.DropReason = "udp_send_forbidden"
	// DropSendBuffer: the socket's send buffer stayed full for sendPatience, or
	// the kernel had no memory or no room in a queue.
	DropSendBuffer tunnel.DropReason = "udp_send_buffer"
	// DropSendTooBig: longer than the path's MTU, or than UDP allows.
	DropSendTooBig tunnel.DropReason = "udp_send_too_big"
	// DropSendInvalid: the kernel refused the arguments; a blackhole route does
	// so too.
	DropSendInvalid tunnel.DropReason = "udp_send_invalid"
	// DropSendError: any other error of sending.
	DropSendError tunnel.DropReason = "udp_send_error"
)

// Reasons are all reasons of this package; Stats has a count for each.
func Reasons() []tunnel.DropReason {
	return []tunnel.DropReason{
		DropReceiveBuffer, DropReceiveError, DropTruncated, DropNotWireGuard, DropSocketClosed,
		DropSendClosed, DropSendFamily, DropSendUnreachable, DropSendRefused, DropSendForbidden,
		DropSendBuffer, DropSendTooBig, DropSendInvalid, DropSendError,
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

// add counts n drops; reason is one of Reasons.
func (d drops) add(reason tunnel.DropReason, n int) {
	if n > 0 {
		d[reason].Add(uint64(n))
	}
}

func (d drops) snapshot() map[tunnel.DropReason]uint64 {
	s := make(map[tunnel.DropReason]uint64, len(d))
	for r, n := range d {
		s[r] = n.Load()
	}
	return s
}
