package userspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// The engine silently skips an initiation within RekeyTimeout (5 s) of its last
// handshake message to the peer, and retries only those that it sent. So a
// greeting is repeated until it is answered or the gate has passed; the engine
// sends at most one of them, and its own timers take over from there.
//
// When two peers initiate within a round trip of each other, each forgets its
// own handshake for the other's, both responses are void and nothing happens
// for 5 s. Nodes of a cluster that start together would meet that often. So the
// one with the larger public key leaves the first move to the other.
const (
	greetEvery = 250 * time.Millisecond
	greetFor   = device.RekeyTimeout + 2*greetEvery
	greetYield = 200 * time.Millisecond
)

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

// Greet implements tunnel.Tunnel.
func (t *Tunnel) Greet(peers ...wgkey.PublicKey) error {
	return t.with(func(e *engine) error {
		var errs []error
		for _, key := range peers {
			if e.device.LookupPeer(device.NoisePublicKey(key)) == nil {
				errs = append(errs, fmt.Errorf("greet peer %s: no such peer", key))
				continue
			}
			t.greeter.add(key)
		}
		return errors.Join(errs...)
	})
}

// add asks for greetings; run gives them.
func (g *greeter) add(peers ...wgkey.PublicKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range peers {
		g.asked[key] = g.now()
	}
	if len(g.asked) > 0 {
		select {
		case g.wake <- struct{}{}:
		default:
		}
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
		keys, more := g.due(s)
		for _, key := range keys {
			if peer := e.device.LookupPeer(device.NoisePublicKey(key)); peer != nil && ctx.Err() == nil {
				// It fails where the endpoint went away just now; so be it.
				_ = peer.SendHandshakeInitiation(false)
			}
		}
		if !more {
			tick.Stop()
		}
	}
}

// due returns the peers to send to now, and whether there are some to look at
// again.
func (g *greeter) due(s state) (keys []wgkey.PublicKey, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := s.config.PrivateKey.Public()
	for key, asked := range g.asked {
		p, known := s.peer(key)
		waited := g.now().Sub(asked)
		if !known || !greetable(p, asked) || waited > greetFor {
			delete(g.asked, key)
			continue
		}
		if bytes.Compare(own[:], key[:]) < 0 || waited >= greetYield {
			keys = append(keys, key)
		}
	}
	return keys, len(g.asked) > 0
}

// greetable reports whether the peer has an endpoint to greet and has not
// shaken hands since it was asked for.
func greetable(p tunnel.PeerStats, asked time.Time) bool {
	return p.Endpoint.IsValid() && p.LastHandshake.Before(asked)
}
