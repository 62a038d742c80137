package wire

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// Count is frames and bytes. A frame is what the kernel passes on as one: up to
// 64 KiB where segmentation is left to the hardware.
type Count struct {
	Frames uint64 `json:"frames"`
	Bytes  uint64 `json:"bytes"` // with link-layer headers, where there are any
}

func (c *Count) add(bytes int) {
	c.Frames++
	c.Bytes += uint64(bytes)
}

// MaxPairs is how many pairs of plaintext a Tally tells apart: the first ones.
const MaxPairs = 20

// Grace is how old an initiation has to be at the end before it counts as
// unanswered.
const Grace = time.Second

// Pair is plaintext between two addresses, over one device in one direction.
type Pair struct {
	From     netip.Addr
	To       netip.Addr
	Device   int // its index
	Outgoing bool
	Class    Class
	Text     string // of the first frame
	Count
}

// Remote is what was exchanged with the other end of a tunnel.
type Remote struct {
	Addr           netip.AddrPort
	Sent, Received Count
	// Initiations of handshakes sent to it and received from it, and how many of
	// each were not answered within Grace.
	Initiated, Unanswered         uint64
	InitiatedByIt, UnansweredByUs uint64
}

// Sum is what a Tally came to.
type Sum struct {
	WireGuard, Plaintext, Malformed, Other Count
	// Pairs are the first MaxPairs of plaintext, the most frames first; more than
	// these add to Plaintext alone.
	Pairs   []Pair
	Remotes []Remote // in the order of their addresses
}

// Tally adds up the frames of a capture. It is one goroutine's.
type Tally struct {
	classifier *Classifier
	sum        Sum
	pairs      map[pairKey]*Pair
	remotes    map[netip.AddrPort]*Remote
	handshakes handshakes
}

type pairKey struct {
	from, to netip.Addr
	device   int
	outgoing bool
}

// NewTally makes an empty one.
func NewTally(c *Classifier) *Tally {
	return &Tally{classifier: c, pairs: map[pairKey]*Pair{}, remotes: map[netip.AddrPort]*Remote{}}
}

// See adds a frame, seen at a time.
func (t *Tally) See(f Frame, at time.Time) {
	p := t.classifier.Classify(f)
	switch p.Class {
	case WireGuard:
		t.sum.WireGuard.add(f.Length)
		t.message(p, f, at)
	case PlaintextPod, PlaintextPodNode:
		t.sum.Plaintext.add(f.Length)
		t.plaintext(p, f)
	case Malformed:
		t.sum.Malformed.add(f.Length)
	default:
		t.sum.Other.add(f.Length)
	}
}

func (t *Tally) plaintext(p Packet, f Frame) {
	key := pairKey{p.From.Addr(), p.To.Addr(), f.Device, f.Outgoing}
	pair := t.pairs[key]
	if pair == nil {
		if len(t.pairs) == MaxPairs {
			return
		}
		pair = &Pair{From: key.from, To: key.to, Device: key.device, Outgoing: key.outgoing, Class: p.Class, Text: p.Text}
		t.pairs[key] = pair
	}
	pair.add(f.Length)
}

// maxRemotes bounds what many senders cost.
const maxRemotes = 1 << 14

func (t *Tally) message(p Packet, f Frame, at time.Time) {
	addr := p.From
	if f.Outgoing {
		addr = p.To
	}
	r := t.remotes[addr]
	if r == nil {
		if len(t.remotes) == maxRemotes {
			return
		}
		r = &Remote{Addr: addr}
		t.remotes[addr] = r
	}
	begins := binary.LittleEndian.Uint32(p.Message) == initiation // as shaped has seen
	switch {
	case f.Outgoing:
		r.Sent.add(f.Length)
		if begins {
			r.Initiated++
		}
	default:
		r.Received.add(f.Length)
		if begins {
			r.InitiatedByIt++
		}
	}
	t.handshakes.see(p, f.Outgoing, addr, at)
}

// Sum is what was seen until now.
func (t *Tally) Sum(now time.Time) Sum {
	sum := t.sum
	for _, p := range t.pairs {
		sum.Pairs = append(sum.Pairs, *p)
	}
	slices.SortFunc(sum.Pairs, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(b.Frames, a.Frames), a.From.Compare(b.From), a.To.Compare(b.To), a.Device-b.Device)
	})
	silent := map[netip.AddrPort]*[2]uint64{} // ours, theirs
	for _, o := range t.handshakes.open {
		if now.Sub(o.at) < Grace {
			continue
		}
		n := silent[o.remote]
		if n == nil {
			n = new([2]uint64)
			silent[o.remote] = n
		}
		if o.ours {
			n[0]++
		} else {
			n[1]++
		}
	}
	for addr, r := range t.remotes {
		seen := *r
		if n := silent[addr]; n != nil {
			seen.Unanswered, seen.UnansweredByUs = n[0], n[1]
		}
		sum.Remotes = append(sum.Remotes, seen)
	}
	slices.SortFunc(sum.Remotes, func(a, b Remote) int { return a.Addr.Compare(b.Addr) })
	return sum
}
