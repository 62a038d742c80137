package tundev

import (
	"slices"
	"sync/atomic"

	"github.com/wgsteer/wgsteer/tunnel"
)

// Stats is a snapshot of a TUN's counters, since it was opened.
type Stats struct {
	// FromTUN and ToTUN are packets as the engine sees them: segments. ToTUN
	// holds also those that became drops.
	FromTUN, ToTUN tunnel.Counts
	// Reads are packets as the kernel gave them: GSO packets whole, without the
	// virtio-net header.
	Reads tunnel.Counts
	// Progress counts the reads that returned; while it stands still and packets
	// are Pending, the reader hangs.
	Progress uint64
	Drops    map[tunnel.DropReason]uint64 // a count for each of Reasons
	Offloads []string                     // "tun-tso4", "tun-tso6", "tun-uso"
}

// counters are the totals of one TUN over all its queues.
type counters struct {
	fromTUN, toTUN, reads counter
}

type counter struct{ packets, bytes atomic.Uint64 }

func (c *counter) add(packets, bytes int) {
	c.packets.Add(uint64(packets))
	c.bytes.Add(uint64(bytes))
}

func (c *counter) counts() tunnel.Counts {
	return tunnel.Counts{Packets: c.packets.Load(), Bytes: c.bytes.Load()}
}

// countRead counts what one read gave; first is its first segment.
func (c *counters) countRead(first []byte, sizes []int) {
	segments := 0
	for _, n := range sizes {
		segments += n
	}
	c.fromTUN.add(len(sizes), segments)
	c.reads.add(1, wholeSize(first, sizes))
}

func (c *counters) countWrite(bufs [][]byte, offset int) {
	bytes := 0
	for _, b := range bufs {
		bytes += len(b) - offset
	}
	c.toTUN.add(len(bufs), bytes)
}

// Stats reads the counters.
func (t *TUN) Stats() Stats {
	s := Stats{
		FromTUN: t.fromTUN.counts(), ToTUN: t.toTUN.counts(), Reads: t.reads.counts(),
		Progress: t.progress.Load(), Drops: t.drops.snapshot(), Offloads: slices.Clone(t.offloads),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if link, err := t.link(); err == nil && link.Attrs().Statistics != nil {
		s.Drops[DropRingFull] = link.Attrs().Statistics.TxDropped
	}
	return s
}
