package udpbind

import "encoding/binary"

// kind is a WireGuard message type as counted here: a transport message
// without content is a keepalive.
type kind uint8

const (
	notWireGuard kind = iota
	initiation
	response
	cookieReply
	transport
	keepalive
	kinds // how many there are
)

// Lengths of messages in bytes (WireGuard whitepaper, section 5.4).
const (
	initiationSize   = 148
	responseSize     = 92
	cookieReplySize  = 64
	minTransportSize = 32 // header of 16, tag of 16; exactly this is a keepalive
)

// kindOf judges a datagram by type and length alone, as wireguard-go does
// before it looks a receiver index up: what is not WireGuard here would be
// dropped there, unnamed. The type is the first 4 bytes, little endian (three
// of them reserved and zero); the receiver index is at 4 in transport messages
// and cookie replies, at 8 in responses.
func kindOf(message []byte) kind {
	if len(message) < minTransportSize {
		return notWireGuard
	}
	switch t := binary.LittleEndian.Uint32(message); {
	case t == 1 && len(message) == initiationSize:
		return initiation
	case t == 2 && len(message) == responseSize:
		return response
	case t == 3 && len(message) == cookieReplySize:
		return cookieReply
	case t == 4 && len(message) == minTransportSize:
		return keepalive
	case t == 4:
		return transport
	}
	return notWireGuard
}
