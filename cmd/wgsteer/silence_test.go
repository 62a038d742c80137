package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/wgkey"
)

func TestSilence(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	one, other := wgkey.PublicKey{1}, wgkey.PublicKey{2}
	// look is a peer as it is seen at a second: its key, when its last handshake was
	// (-1: never), what was sent to it.
	type look struct {
		second    int
		key       wgkey.PublicKey
		handshake int
		sent      uint64
		want      string
	}
	for name, looks := range map[string][]look{
		"answers":         {{0, one, -1, 148, "waiting"}, {2, one, 1, 300, ""}, {200, one, 121, 9000, ""}},
		"never answers":   {{0, one, -1, 148, "waiting"}, {59, one, -1, 1480, "waiting"}, {60, one, -1, 1628, "silent"}, {61, one, 60, 2000, ""}},
		"has another key": {{0, one, 0, 0, ""}, {100, other, -1, 0, "waiting"}, {159, other, -1, 0, "waiting"}, {160, other, -1, 0, "silent"}},
		"is idle":         {{0, one, 0, 500, ""}, {185, one, 0, 500, ""}, {4000, one, 0, 500, ""}, {90000, one, 0, 500, ""}},
		"goes away under traffic": {
			{0, one, 0, 500, ""}, {150, one, 0, 9000, ""}, // still in session
			{185, one, 0, 9148, ""}, {190, one, 0, 9296, ""}, {209, one, 0, 9740, ""}, {210, one, 0, 9740, "silent"},
			{4000, one, 0, 9740, "silent"}, // nothing asks for it any more: it is not back for that
			{4005, one, 4004, 9888, ""},
		},
		"wakes up":           {{0, one, 0, 500, ""}, {900, one, 0, 500, ""}, {905, one, 0, 648, ""}, {910, one, 908, 900, ""}, {940, one, 908, 950, ""}},
		"known at the start": {{0, one, -500, 0, ""}, {30, one, -500, 0, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			var s silence
			for _, l := range looks {
				p := dataplane.Peer{Name: "node-b", PublicKey: l.key, TxBytes: l.sent}
				if l.handshake != -1 {
					p.LastHandshake = at(l.handshake)
				}
				want := map[string]silents{"": {}, "silent": {Silent: []string{"node-b"}}, "waiting": {Waiting: []string{"node-b"}}}[l.want]
				if diff := cmp.Diff(want, s.look([]dataplane.Peer{p}, at(l.second))); diff != "" {
					t.Errorf("at second %d (-want +got):\n%s", l.second, diff)
				}
			}
			if s.look(nil, at(100000)); len(s.peers) != 0 {
				t.Errorf("peers that are gone are kept: %v", s.peers)
			}
		})
	}
}
