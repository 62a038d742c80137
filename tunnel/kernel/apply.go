package kernel

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// sessionLife is how long a session is good for (Reject-After-Time, WireGuard
// paper, section 6.1).
const sessionLife = 180 * time.Second

// Apply implements tunnel.Tunnel.
func (t *Tunnel) Apply(ctx context.Context, config tunnel.Config) error {
	if err := config.Validate(); err != nil {
		return fmt.Errorf("apply to %s: %w", t.options.Interface, err)
	}
	t.applying.Lock()
	defer t.applying.Unlock()
	return t.with(func(d *device) error {
		if err := t.apply(ctx, d, config); err != nil {
			return fmt.Errorf("apply to %s: %w", t.options.Interface, err)
		}
		return nil
	})
}

func (t *Tunnel) apply(ctx context.Context, d *device, config tunnel.Config) error {
	now, err := d.read()
	if err != nil {
		return err
	}
	link, err := d.link()
	if err != nil {
		return err
	}
	now.config.MTU = link.Attrs().MTU
	asked := t.options.Now()
	have := now.config.AsConfigured(t.last)
	if !t.applied {
		have = leftWhereHeard(now, config, asked)
	}
	c := tunnel.Diff(have, config)
	// Kept for the next Apply if a step below fails.
	for key := range c.Greetings(config) {
		t.ungreeted[key] = asked
	}
	if !t.applied {
		for _, p := range config.Peers {
			if !now.hasSession(p.PublicKey, asked) {
				t.ungreeted[p.PublicKey] = asked
			}
		}
	}
	if err := d.change(ctx, c); err != nil {
		return err
	}
	t.last, t.applied = endpointsOf(config), true
	t.greeter.add(t.ungreeted)
	clear(t.ungreeted)
	if !c.Empty() {
		t.log.Debug("tunnel configured", "peers_changed", len(c.Peers), "peers_removed", len(c.Removed), "peers", len(config.Peers))
	}
	return nil
}

// hasSession reports whether the last handshake with a peer is still good.
func (s state) hasSession(key wgkey.PublicKey, now time.Time) bool {
	i, found := slices.BinarySearchFunc(s.peers, key, func(p tunnel.PeerStats, k wgkey.PublicKey) int {
		return bytes.Compare(p.PublicKey[:], k[:])
	})
	return found && now.Sub(s.peers[i].LastHandshake) < sessionLife
}

// leftWhereHeard is the state of a link that was adopted, as Diff wants it: where
// it sends to a peer with a session is where the peer was heard, and stays.
func leftWhereHeard(s state, want tunnel.Config, now time.Time) tunnel.Config {
	last := tunnel.Config{}
	for _, p := range want.Peers {
		if s.hasSession(p.PublicKey, now) {
			last.Peers = append(last.Peers, p)
		}
	}
	return s.config.AsConfigured(last)
}

// endpointsOf is of a configuration what AsConfigured asks for: nobody keeps a key.
func endpointsOf(config tunnel.Config) (out tunnel.Config) {
	for _, p := range config.Peers {
		out.Peers = append(out.Peers, tunnel.Peer{PublicKey: p.PublicKey, Endpoint: p.Endpoint})
	}
	return out
}

// change makes the changes in an order that leaves no prefix without a peer.
func (d *device) change(ctx context.Context, c tunnel.Changes) error {
	if c.MTU != nil {
		if err := d.setMTU(*c.MTU); err != nil {
			return err
		}
	}
	if identity, any := identityOf(c); any {
		if err := d.set(identity); err != nil {
			return fmt.Errorf("set private key or firewall mark: %w", err)
		}
	}
	if c.ListenPort != nil { // where it cannot be had, the old one stays open
		if err := d.set(portOf(*c.ListenPort)); err != nil {
			return fmt.Errorf("open UDP port %d: %w", *c.ListenPort, hinted(err))
		}
	}
	dummy, err := wgkey.NewPrivateKey(rand.Reader)
	if err != nil {
		return err
	}
	for _, m := range peersOf(c, dummy.Public()) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.set(m); err != nil {
			return fmt.Errorf("set peers: %w", err)
		}
	}
	return nil
}

// hinted is the kernel's bare number as an error that says what to do.
func hinted(err error) error {
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("%w: another process or tunnel has it; see which with: ss -ulpn", err)
	}
	return err
}
