package main

import (
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/wgkey"
)

const (
	// silentAfter is how long a peer may take to answer for the first time: some tries
	// of a handshake, and the peer's way to this node's record.
	silentAfter = time.Minute
	// sessionOver is when a WireGuard session is over for certain: Reject-After-Time
	// (WireGuard paper, section 6.1), and some. From then on only handshakes are sent.
	sessionOver = 185 * time.Second
	// unansweredFor is how long they may go unanswered: one is sent each 5 s.
	unansweredFor = 20 * time.Second
)

// silence finds peers that do not answer in what Status tells of them. An idle peer
// is none: without traffic nothing is sent, and its last handshake gets old.
type silence struct {
	peers map[string]heard
}

// heard is what was seen of a peer since its last handshake.
type heard struct {
	key       wgkey.PublicKey
	handshake time.Time
	since     time.Time // first seen so
	// sent is what had been sent when the session was over; until then, zero times.
	sent  uint64
	over  time.Time // when sent was looked at
	asked time.Time // more has been sent since
}

// silents are the peers that do not answer, and those of which that cannot be told
// yet; both in the order of the peers.
type silents struct {
	Silent, Waiting []string
}

// look is to be called every few seconds.
func (s *silence) look(peers []dataplane.Peer, now time.Time) silents {
	var found silents
	next := make(map[string]heard, len(peers))
	for _, p := range peers {
		h, known := s.peers[p.Name]
		if !known || h.key != p.PublicKey || !h.handshake.Equal(p.LastHandshake) {
			h = heard{key: p.PublicKey, handshake: p.LastHandshake, since: now}
		}
		h = h.look(p, now)
		next[p.Name] = h
		switch {
		case p.LastHandshake.IsZero() && now.Sub(h.since) < silentAfter:
			found.Waiting = append(found.Waiting, p.Name)
		case p.LastHandshake.IsZero(), !h.asked.IsZero() && now.Sub(h.asked) >= unansweredFor:
			found.Silent = append(found.Silent, p.Name)
		}
	}
	s.peers = next
	return found
}

// look notes what is sent to a peer whose session is over.
func (h heard) look(p dataplane.Peer, now time.Time) heard {
	switch {
	case p.LastHandshake.IsZero() || now.Sub(p.LastHandshake) < sessionOver:
	case h.over.IsZero():
		h.over, h.sent = now, p.TxBytes
	case h.asked.IsZero() && p.TxBytes > h.sent:
		h.asked = now
	}
	return h
}
