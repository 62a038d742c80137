package kernel

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

var (
	smallest = wgkey.PublicKey{}                                  // less than any own key
	largest  = wgkey.PublicKey{255, 255, 255, 255, 255, 255, 255} // more than any
)

func TestGreetsDue(t *testing.T) {
	const ms = time.Millisecond
	start := time.Unix(1700000000, 0)
	there := netip.MustParseAddrPort("192.0.2.1:1")
	for name, tc := range map[string]struct {
		peer    tunnel.PeerStats
		after   time.Duration
		due     bool
		rest    time.Duration
		pending bool
	}{
		"first mover":                {tunnel.PeerStats{PublicKey: largest, Endpoint: there}, 0, true, 0, false},
		"second mover waits":         {tunnel.PeerStats{PublicKey: smallest, Endpoint: there}, 50 * ms, false, 150 * ms, true},
		"second mover, nothing came": {tunnel.PeerStats{PublicKey: smallest, Endpoint: there}, 200 * ms, true, 0, false},
		"second mover, answered":     {tunnel.PeerStats{PublicKey: smallest, Endpoint: there, LastHandshake: start}, 200 * ms, false, 0, false},
		"had a session before":       {tunnel.PeerStats{PublicKey: largest, Endpoint: there, LastHandshake: start.Add(-time.Second)}, 0, true, 0, false},
		"no endpoint":                {tunnel.PeerStats{PublicKey: largest}, 0, false, 0, false},
		"gone":                       {tunnel.PeerStats{PublicKey: pub(7), Endpoint: there}, 0, false, 0, false},
	} {
		g := newGreeter(func() time.Time { return start.Add(tc.after) })
		asked := tc.peer.PublicKey
		if name == "gone" {
			asked = largest
		}
		g.add(map[wgkey.PublicKey]time.Time{asked: start})
		due, rest := g.due(state{config: tunnel.Config{PrivateKey: private(t, 5)}, peers: []tunnel.PeerStats{tc.peer}})
		if (len(due) == 1) != tc.due || rest != tc.rest || g.pending() != tc.pending {
			t.Errorf("%s: due %v, rest %v, pending %v", name, due, rest, g.pending())
		}
	}
}

// TestGreetings: the interval goes from none to some, and ends as it was.
func TestGreetings(t *testing.T) {
	s := state{config: tunnel.Config{Peers: []tunnel.Peer{{PublicKey: pub(1)}, {PublicKey: pub(2), PersistentKeepalive: 25 * time.Second}}}}
	step := func(n byte, d time.Duration) wgtypes.PeerConfig {
		return wgtypes.PeerConfig{PublicKey: wgtypes.Key{n}, UpdateOnly: true, PersistentKeepaliveInterval: &d}
	}
	want := []wgtypes.Config{{Peers: []wgtypes.PeerConfig{step(1, time.Second), step(1, 0), step(2, 0), step(2, 25*time.Second)}}}
	if d := cmp.Diff(want, greetings(s, []wgkey.PublicKey{pub(1), pub(2)})); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
	var many []wgkey.PublicKey
	for i := range 100 {
		many = append(many, pub(byte(i)))
	}
	entries := 0
	for _, m := range greetings(s, many) {
		entries += len(m.Peers)
		if len(m.Peers) > peersAtOnce || len(m.Peers)%2 != 0 {
			t.Errorf("a message of %d entries", len(m.Peers))
		}
	}
	if entries != 200 {
		t.Errorf("%d entries for 100 peers, want 200", entries)
	}
}

// TestLeftWhereHeard: only a peer with a session stays where it was heard.
func TestLeftWhereHeard(t *testing.T) {
	now := time.Unix(1700000000, 0)
	roamed, configured := netip.MustParseAddrPort("198.51.100.9:9"), netip.MustParseAddrPort("192.0.2.1:51871")
	for name, tc := range map[string]struct {
		handshake time.Time
		moved     bool
	}{
		"session":           {now.Add(-179 * time.Second), false},
		"session of before": {now.Add(-181 * time.Second), true},
		"none":              {time.Time{}, true},
	} {
		s := state{
			config: tunnel.Config{Peers: []tunnel.Peer{{PublicKey: pub(1), Endpoint: roamed}}},
			peers:  []tunnel.PeerStats{{PublicKey: pub(1), LastHandshake: tc.handshake}},
		}
		want := tunnel.Config{Peers: []tunnel.Peer{{PublicKey: pub(1), Endpoint: configured}}}
		if moved := !tunnel.Diff(leftWhereHeard(s, want, now), want).Empty(); moved != tc.moved {
			t.Errorf("%s: moved %v", name, moved)
		}
	}
}

// TestGreetGoesOn: what keeps peers from being greeted does not end the tunnel, and
// they are greeted when it can be; a link that is gone does end it.
func TestGreetGoesOn(t *testing.T) {
	links, wg := clients(t)
	said := make(chan string, 100)
	tun, err := New(Options{Interface: "lo", Logger: slog.New(slog.NewTextHandler(lines(said), nil))})
	if err != nil {
		t.Fatal(err)
	}
	asked := map[wgkey.PublicKey]time.Time{pub(1): time.Now()}
	tun.greeter.add(asked)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	d := &device{name: "lo", index: 1, links: links, wg: wg} // no link of WireGuard's
	go func() { ended <- tun.greet(ctx, d) }()
	select {
	case line := <-said:
		if !strings.Contains(line, "cannot be greeted") {
			t.Errorf("it says %q", line)
		}
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	}
	cancel()
	if err := <-ended; err != nil || !tun.greeter.pending() {
		t.Errorf("%v, pending %v", err, tun.greeter.pending())
	}
	d.index = 1 << 30
	if err := tun.greet(t.Context(), d); !errors.Is(err, ErrGone) {
		t.Errorf("a link that is gone: %v", err)
	}
}

// TestPutBack: who was not greeted is, the next time; who was asked for since, once.
func TestPutBack(t *testing.T) {
	now := time.Unix(1700000000, 0)
	g := newGreeter(func() time.Time { return now })
	g.add(map[wgkey.PublicKey]time.Time{pub(1): now.Add(-time.Second)})
	g.putBack([]wgkey.PublicKey{pub(1), pub(2)})
	if d := cmp.Diff(map[wgkey.PublicKey]time.Time{pub(1): now.Add(-time.Second), pub(2): now}, g.asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
}

// lines are what is written, a line a value.
type lines chan<- string

func (l lines) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }
