package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/wgsteer/wgsteer/wgkey"
)

// The kernel has no call that starts a handshake. But it sends a keepalive at once
// when the interval goes from none to some (set_peer of its netlink.c); and that,
// like any packet, starts a handshake where there is no session to send it with.
// The interval is back as it was within the same message. Where there is a session
// the keepalive goes through it, and no handshake is made before its time.
//
// The kernel repeats a handshake every 5 s, for 90 s.

// When two peers initiate within a round trip of each other, each forgets its own
// handshake for the other's, and both wait 5 s to try again. So the side with the
// smaller public key makes the first move, as tunnel/userspace does it too, and the
// other one follows where nothing came of it.
const greetSecond = 200 * time.Millisecond

// greetsAtOnce are the peers of one message, of two entries each.
const greetsAtOnce = peersAtOnce / 2

// greeter starts handshakes.
type greeter struct {
	now  func() time.Time
	wake chan struct{}

	mu    sync.Mutex // guards asked
	asked map[wgkey.PublicKey]time.Time
}

func newGreeter(now func() time.Time) *greeter {
	return &greeter{now: now, wake: make(chan struct{}, 1), asked: make(map[wgkey.PublicKey]time.Time)}
}

// Greet implements tunnel.Tunnel: it starts a handshake with each of the peers that
// has no session, and sends the others a keepalive.
func (t *Tunnel) Greet(peers ...wgkey.PublicKey) error {
	return t.with(func(d *device) error {
		s, err := d.read()
		if err != nil {
			return err
		}
		known := s.byKey()
		var errs []error
		asked := make(map[wgkey.PublicKey]time.Time, len(peers))
		for _, key := range peers {
			if _, ok := known[key]; !ok {
				errs = append(errs, fmt.Errorf("greet peer %s: no such peer", key))
				continue
			}
			asked[key] = t.options.Now()
		}
		t.greeter.add(asked)
		return errors.Join(errs...)
	})
}

// add asks for greetings; serve gives them.
func (g *greeter) add(asked map[wgkey.PublicKey]time.Time) {
	if len(asked) == 0 {
		return
	}
	g.mu.Lock()
	maps.Copy(g.asked, asked)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// greet serves until ctx ends or the link is gone. What fails otherwise is tried
// again: the link carries packets without it.
func (t *Tunnel) greet(ctx context.Context, d *device) error {
	again := time.NewTimer(0)
	defer again.Stop()
	for told := ""; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-t.greeter.wake:
		case <-again.C:
		}
		rest, err := t.greetDue(d)
		is := ""
		switch {
		case errors.Is(err, ErrGone):
			return err
		case err != nil:
			rest, is = watchEvery, err.Error()
		}
		if is != told && is != "" {
			t.log.Warn("peers cannot be greeted; it is tried again", "error", is)
		}
		told = is
		if rest > 0 {
			again.Reset(rest)
		}
	}
}

// greetDue makes the moves that are due, and returns when to look again; 0 is never.
func (t *Tunnel) greetDue(d *device) (time.Duration, error) {
	t.applying.Lock() // the intervals must not change meanwhile
	defer t.applying.Unlock()
	if !t.greeter.pending() {
		return 0, nil
	}
	s, err := d.read()
	if err != nil {
		return 0, err
	}
	due, rest := t.greeter.due(s)
	for _, m := range greetings(s, due) {
		if err := d.set(m); err != nil {
			t.greeter.putBack(due)
			return 0, fmt.Errorf("greet peers: %w", err)
		}
	}
	return rest, nil
}

// putBack has peers greeted the next time, where nobody asked for it since.
func (g *greeter) putBack(due []wgkey.PublicKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range due {
		if _, ok := g.asked[key]; !ok {
			g.asked[key] = g.now()
		}
	}
}

func (g *greeter) pending() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.asked) > 0
}

// due takes out the peers to greet now, sorted, and says when to look again.
func (g *greeter) due(s state) (due []wgkey.PublicKey, rest time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, own, peers := g.now(), s.config.PrivateKey.Public(), s.byKey()
	for key, asked := range g.asked {
		p, known := peers[key]
		wait := time.Duration(0)
		if bytes.Compare(own[:], key[:]) > 0 {
			wait = asked.Add(greetSecond).Sub(now)
		}
		switch {
		case !known || !p.Endpoint.IsValid() || !p.LastHandshake.Before(asked): // or answered
		case wait > 0:
			if rest == 0 || wait < rest {
				rest = wait
			}
			continue
		default:
			due = append(due, key)
		}
		delete(g.asked, key)
	}
	slices.SortFunc(due, func(a, b wgkey.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	return due, rest
}

// greetings are what makes the kernel send a keepalive to each peer; each message
// leaves the intervals as they are.
func greetings(s state, due []wgkey.PublicKey) []wgtypes.Config {
	interval := make(map[wgkey.PublicKey]time.Duration, len(s.config.Peers))
	for _, p := range s.config.Peers {
		interval[p.PublicKey] = p.PersistentKeepalive
	}
	var out []wgtypes.Config
	for some := range slices.Chunk(due, greetsAtOnce) {
		var m wgtypes.Config
		for _, key := range some {
			steps := []time.Duration{time.Second, 0} // off: on and off again
			if is := interval[key]; is != 0 {
				steps = []time.Duration{0, is}
			}
			for _, step := range steps {
				m.Peers = append(m.Peers, wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), UpdateOnly: true, PersistentKeepaliveInterval: &step})
			}
		}
		out = append(out, m)
	}
	return out
}
