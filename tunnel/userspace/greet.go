package userspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"github.com/wgsteer/wgsteer/wgkey"
)

// The engine silently skips an initiation within RekeyTimeout (5 s) of its last
// handshake message to the peer, and retries only those that it sent. So a
// greeting is repeated until it is answered or that gate has passed; the engine
// lets one of them through, and its own timers take over from there.
const (
	greetEvery = 250 * time.Millisecond
	greetFor   = device.RekeyTimeout + 2*greetEvery
)

// When two peers initiate within a round trip of each other, each forgets its
// own handshake for the other's, both responses are void, and both wait 5 s to
// try again. Nodes that start together, or whose pods talk already, meet that
// often. So the side with the smaller public key makes the first move; and
// where there is no session to lose, a side that heard nothing drops what it
// has of a handshake and tries again before the 5 s, the other side later.
var (
	greetFirst  = []time.Duration{0, 500 * time.Millisecond, 2 * time.Second}
	greetSecond = []time.Duration{200 * time.Millisecond, time.Second, 3 * time.Second}
)

// greeter starts handshakes.
type greeter struct {
	now  func() time.Time
	wake chan struct{}

	mu    sync.Mutex // guards asked
	asked map[wgkey.PublicKey]greeting
}

// greeting is a handshake that was asked for.
type greeting struct {
	at    time.Time // a handshake since then is the answer
	fresh bool      // there is no session, whatever the time of the last handshake
	step  int       // in greetFirst or greetSecond: what comes next
}

// move is what to do towards one peer now.
type move struct {
	peer wgkey.PublicKey
	// reset drops an unfinished handshake, and with it the engine's gate.
	reset bool
}

func newGreeter(now func() time.Time) *greeter {
	return &greeter{now: now, wake: make(chan struct{}, 1), asked: make(map[wgkey.PublicKey]greeting)}
}

// Greet implements tunnel.Tunnel.
func (t *Tunnel) Greet(peers ...wgkey.PublicKey) error {
	if t.options.Standalone {
		return fmt.Errorf("greet peers of %s: %w", t.options.Interface, errStandalone)
	}
	return t.with(func(e *engine) error {
		var errs []error
		asked := make(map[wgkey.PublicKey]greeting, len(peers))
		for _, key := range peers {
			if e.device.LookupPeer(device.NoisePublicKey(key)) == nil {
				errs = append(errs, fmt.Errorf("greet peer %s: no such peer", key))
				continue
			}
			asked[key] = greeting{at: t.options.Now()}
		}
		t.greeter.add(asked)
		return errors.Join(errs...)
	})
}

// add asks for greetings; run gives them.
func (g *greeter) add(asked map[wgkey.PublicKey]greeting) {
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

// run serves until ctx ends.
func (g *greeter) run(ctx context.Context, e *engine) error {
	tick := time.NewTicker(greetEvery)
	tick.Stop()
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.wake:
			tick.Reset(greetEvery)
		case <-tick.C:
		}
		s, err := readState(e.device)
		if err != nil {
			return err
		}
		moves, more := g.due(s)
		for _, m := range moves {
			runtime.Gosched() // packets go first
			if peer := e.device.LookupPeer(device.NoisePublicKey(m.peer)); peer != nil && ctx.Err() == nil {
				if m.reset {
					peer.ExpireCurrentKeypairs()
				}
				// It fails where the endpoint went away just now; so be it.
				_ = peer.SendHandshakeInitiation(false)
			}
		}
		if !more {
			tick.Stop()
		}
	}
}

// due returns what to do now, and whether there is something to do later.
func (g *greeter) due(s state) (moves []move, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, own := g.now(), s.config.PrivateKey.Public()
	for key, asked := range g.asked {
		p, known := s.peer(key)
		answered := !p.LastHandshake.Before(asked.at)
		if !known || !p.Endpoint.IsValid() || answered || now.Sub(asked.at) > greetFor {
			delete(g.asked, key)
			continue
		}
		steps := greetFirst
		if bytes.Compare(own[:], key[:]) > 0 {
			steps = greetSecond
		}
		next := asked.step < len(steps) && now.Sub(asked.at) >= steps[asked.step]
		if next || asked.step > 0 {
			idle := asked.fresh || now.Sub(p.LastHandshake) > device.RejectAfterTime
			moves = append(moves, move{peer: key, reset: next && asked.step > 0 && idle})
		}
		if next {
			asked.step++
			g.asked[key] = asked
		}
	}
	return moves, len(g.asked) > 0
}
