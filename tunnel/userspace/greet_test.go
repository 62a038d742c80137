package userspace

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

var (
	epoch    = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	endpoint = netip.MustParseAddrPort("192.0.2.1:51871")
	smallest = wgkey.PublicKey{31: 1}
	largest  = wgkey.PublicKey{0: 0xff, 1: 0xff, 2: 0xff}
)

func privateKey(t *testing.T) wgkey.PrivateKey {
	t.Helper()
	k, err := wgkey.NewPrivateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// engineState is that of an engine with one peer.
func engineState(t *testing.T, p tunnel.PeerStats) state {
	return state{config: tunnel.Config{PrivateKey: privateKey(t)}, peers: []tunnel.PeerStats{p}}
}

func TestGreeter(t *testing.T) {
	const tick = greetEvery
	for name, tc := range map[string]struct {
		peer  tunnel.PeerStats
		fresh bool
		// The ticks at which a message, or a reset and a message, is wanted, and
		// the one at which it is over.
		sends, resets []int
		over          int
	}{
		"new peer, our move": {
			peer: tunnel.PeerStats{PublicKey: largest, Endpoint: endpoint}, fresh: true,
			sends: span(0, 22), resets: []int{2, 8}, over: 23,
		},
		"new peer, its move": {
			peer: tunnel.PeerStats{PublicKey: smallest, Endpoint: endpoint}, fresh: true,
			sends: span(1, 22), resets: []int{4, 12}, over: 23,
		},
		"live session is never reset": {
			peer:  tunnel.PeerStats{PublicKey: largest, Endpoint: endpoint, LastHandshake: epoch.Add(-time.Minute)},
			sends: span(0, 22), over: 23,
		},
		"dead session": {
			peer:  tunnel.PeerStats{PublicKey: largest, Endpoint: endpoint, LastHandshake: epoch.Add(-time.Hour)},
			sends: span(0, 22), resets: []int{2, 8}, over: 23,
		},
		"no endpoint": {peer: tunnel.PeerStats{PublicKey: largest}, fresh: true},
		"answered":    {peer: tunnel.PeerStats{PublicKey: largest, Endpoint: endpoint, LastHandshake: epoch.Add(time.Millisecond)}, fresh: true},
	} {
		t.Run(name, func(t *testing.T) {
			now := epoch
			g := newGreeter(func() time.Time { return now })
			g.add(map[wgkey.PublicKey]greeting{tc.peer.PublicKey: {at: now, fresh: tc.fresh}})
			var sends, resets []int
			n, more := 0, true
			for ; more && n < 100; n++ {
				now = epoch.Add(time.Duration(n) * tick)
				var moves []move
				moves, more = g.due(engineState(t, tc.peer))
				for _, m := range moves {
					sends = append(sends, n)
					if m.reset {
						resets = append(resets, n)
					}
				}
			}
			if d := cmp.Diff(tc.sends, sends); d != "" {
				t.Errorf("ticks at which it sends (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.resets, resets); d != "" {
				t.Errorf("ticks at which it resets (-want +got):\n%s", d)
			}
			if n-1 != tc.over {
				t.Errorf("over after %d ticks, want %d", n-1, tc.over)
			}
		})
	}
}

func span(from, to int) (list []int) {
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}

func TestGreeterForgetsRemovedPeers(t *testing.T) {
	g := newGreeter(func() time.Time { return epoch })
	g.add(map[wgkey.PublicKey]greeting{largest: {at: epoch, fresh: true}})
	if moves, more := g.due(engineState(t, tunnel.PeerStats{PublicKey: smallest, Endpoint: endpoint})); len(moves) > 0 || more {
		t.Errorf("moves %v, more %v", moves, more)
	}
}
