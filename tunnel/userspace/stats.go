package userspace

import (
	"maps"
	"slices"

	"github.com/wgsteer/wgsteer/tunnel"
)

// What the engine loses inside, as differences of counters at its two ends.
const (
	// DropEngineOut: packets read from the TUN that did not become transport
	// messages: no peer has the destination, or the peer has no session yet. It
	// holds what is in flight, and what waits for a handshake, too.
	DropEngineOut tunnel.DropReason = "engine_out"
	// DropEngineIn: transport messages received that did not become packets for
	// the TUN: not authentic, replayed, or of a source that the peer must not
	// use. It holds what is in flight, too.
	DropEngineIn tunnel.DropReason = "engine_in"
)

// Stats implements tunnel.Tunnel.
func (t *Tunnel) Stats() (stats tunnel.Stats, err error) {
	err = t.with(func(e *engine) error {
		stats, err = e.stats()
		if f := t.failing.Load(); f != nil {
			stats.Failing = *f
		}
		return err
	})
	return stats, err
}

func (e *engine) stats() (tunnel.Stats, error) {
	s, err := readState(e.device)
	if err != nil {
		return tunnel.Stats{}, err
	}
	// One after the other while packets pass: the differences are never exact.
	udp := e.bind.Stats()
	tun := e.tun.Stats()
	drops := tun.Drops
	maps.Copy(drops, udp.Drops)
	drops[DropEngineOut] = less(tun.FromTUN.Packets, udp.Offered.Transport)
	drops[DropEngineIn] = less(udp.Received.Transport, tun.ToTUN.Packets)
	return tunnel.Stats{
		PublicKey: s.config.PrivateKey.Public(), ListenPort: s.config.ListenPort, Peers: s.sorted(),
		FromTUN: tun.FromTUN, ToTUN: tun.ToTUN, TUNReads: tun.Reads,
		FromUDP: udp.Received.Datagrams, ToUDP: udp.Sent.Datagrams,
		Drops: drops, Offloads: slices.Sorted(slices.Values(slices.Concat(tun.Offloads, udp.Offloads))),
	}, nil
}

// less is a-b, or zero where counters read one after the other disagree.
func less(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}
