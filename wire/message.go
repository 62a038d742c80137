package wire

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// The types of WireGuard's messages, and the lengths of those that have one
// (WireGuard's paper, section 5.4). Each message begins with its type, in one
// byte, and three zero bytes.
const (
	initiation = 1
	response   = 2
	cookie     = 3
	transport  = 4

	initiationLength = 148
	responseLength   = 92
	cookieLength     = 64
	transportLeast   = 32
)

// shaped tells whether a datagram of a length begins as WireGuard's messages
// do. A GSO frame of several datagrams is longer than one.
func shaped(head []byte, length int) bool {
	if len(head) < 4 {
		return false
	}
	switch binary.LittleEndian.Uint32(head) {
	case initiation:
		return length == initiationLength
	case response:
		return length == responseLength
	case cookie:
		return length == cookieLength
	case transport:
		return length >= transportLeast
	}
	return false
}

// attempt is an initiation that waits for its answer: who sent it to whom, and
// the index that the answer has to name.
type attempt struct {
	from, to netip.Addr
	index    uint32
}

// maxAttempts bounds what a flood of initiations costs.
const maxAttempts = 1 << 16

// handshakes pairs initiations with their answers.
type handshakes struct {
	open map[attempt]opened
}

type opened struct {
	at     time.Time
	remote netip.AddrPort
	ours   bool // this node sent it
}

// see takes a WireGuard message. A cookie reply is an answer too: the other end
// is there, and asks to try again (section 5.4.7).
func (h *handshakes) see(p Packet, ours bool, remote netip.AddrPort, at time.Time) {
	const indexes = 12 // bytes of type, sender and receiver
	if len(p.Message) < indexes {
		return
	}
	first, second := binary.LittleEndian.Uint32(p.Message[4:]), binary.LittleEndian.Uint32(p.Message[8:])
	switch binary.LittleEndian.Uint32(p.Message) {
	case initiation:
		if h.open == nil {
			h.open = map[attempt]opened{}
		}
		if len(h.open) < maxAttempts {
			h.open[attempt{p.From.Addr(), p.To.Addr(), first}] = opened{at, remote, ours}
		}
	case response:
		delete(h.open, attempt{p.To.Addr(), p.From.Addr(), second})
	case cookie:
		delete(h.open, attempt{p.To.Addr(), p.From.Addr(), first})
	}
}
