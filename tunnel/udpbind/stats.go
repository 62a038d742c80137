package udpbind

import (
	"sync/atomic"
	"time"

	"github.com/wgsteer/wgsteer/tunnel"
)

// Traffic counts WireGuard messages, one a datagram, since New.
type Traffic struct {
	Datagrams     tunnel.Counts // all kinds together; bytes are UDP payload
	Initiations   uint64
	Responses     uint64
	CookieReplies uint64
	Keepalives    uint64
	// Transport counts those that carry a packet: one packet of the TUN each.
	Transport uint64
}

// Handshakes is the number of messages of types 1 to 3.
func (t Traffic) Handshakes() uint64 { return t.Initiations + t.Responses + t.CookieReplies }

// Stats is a snapshot of a Bind. Counters never go back; each is exact, but
// they are read one after the other while traffic goes on.
type Stats struct {
	// Port is the UDP port of the sockets; zero while there are none.
	Port uint16
	// Received are messages delivered to the engine. What it lost inside is
	// Received.Transport less the packets it wrote to the TUN.
	Received Traffic
	// Offered are messages that the engine handed to Send, and Sent those of
	// them that the kernel took; the rest are drops with "send" in their name.
	// What the engine lost inside is packets read from the TUN less
	// Offered.Transport.
	Offered, Sent Traffic
	// Drops has a count for each of Reasons.
	Drops map[tunnel.DropReason]uint64
	// Offloads in use by any socket, of "udp-gro" and "udp-gso"; sorted.
	Offloads []string
	// Readers, one a socket, IPv4 first.
	Readers []Reader
}

// ReaderState says where the goroutine that calls a receive function is.
type ReaderState string

const (
	// ReaderClosed: the Bind is closed, so no reader is expected.
	ReaderClosed ReaderState = "closed"
	// ReaderWaiting: inside the receive function, where it may wait for a
	// datagram for ever. This is healthy at any age unless Failing is set.
	ReaderWaiting ReaderState = "waiting"
	// ReaderProcessing: not inside: the engine is at work on what it was given,
	// or has not called yet. This should take milliseconds; a reader that stays
	// here is stuck or gone.
	ReaderProcessing ReaderState = "processing"
)

// Reader is the liveness of one socket's reader.
type Reader struct {
	Network string // "udp4" or "udp6"
	State   ReaderState
	// Since is when State began.
	Since time.Time
	// LastReturn is when datagrams were last delivered; zero before the first.
	LastReturn time.Time
	// LastError is the text of the last error of reading, and stays after it
	// has passed; empty if there was none.
	LastError string
	// Failing is set while reads fail again and again: the reader lives, backs
	// off up to a second between attempts, and delivers nothing.
	Failing bool
}

// tally sums up messages before they are added to shared counters.
type tally struct {
	count [kinds]uint64
	bytes uint64
}

func (t *tally) add(k kind, bytes int) {
	t.count[k]++
	t.bytes += uint64(bytes)
}

func tallyOf(datagrams [][]byte) (t tally) {
	for _, d := range datagrams {
		t.add(kindOf(d), len(d))
	}
	return t
}

// counters are a Traffic that goroutines share.
type counters struct {
	count [kinds]atomic.Uint64
	bytes atomic.Uint64
}

func (c *counters) add(t tally) {
	for k, n := range t.count {
		if n > 0 {
			c.count[k].Add(n)
		}
	}
	c.bytes.Add(t.bytes)
}

func (c *counters) snapshot() Traffic {
	t := Traffic{
		Datagrams:     tunnel.Counts{Bytes: c.bytes.Load()},
		Initiations:   c.count[initiation].Load(),
		Responses:     c.count[response].Load(),
		CookieReplies: c.count[cookieReply].Load(),
		Keepalives:    c.count[keepalive].Load(),
		Transport:     c.count[transport].Load(),
	}
	t.Datagrams.Packets = t.Handshakes() + t.Keepalives + t.Transport + c.count[notWireGuard].Load()
	return t
}
