package userspace

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/device"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// peersAtOnce is how many peers are changed between two looks at the context;
// the engine answers nobody meanwhile.
const peersAtOnce = 64

// Apply implements tunnel.Tunnel. Its first success opens the UDP sockets.
func (t *Tunnel) Apply(ctx context.Context, config tunnel.Config) error {
	err := config.Validate()
	if t.options.Standalone {
		err = errStandalone
	}
	if err != nil {
		return fmt.Errorf("apply to %s: %w", t.options.Interface, err)
	}
	t.applying.Lock()
	defer t.applying.Unlock()
	return t.with(func(e *engine) error {
		if err := t.apply(ctx, e, config); err != nil {
			return fmt.Errorf("apply to %s: %w", t.options.Interface, err)
		}
		return nil
	})
}

func (t *Tunnel) apply(ctx context.Context, e *engine, config tunnel.Config) error {
	now, err := readState(e.device)
	if err != nil {
		return err
	}
	if err := e.tun.Up(); err != nil { // somebody may have set it down
		return err
	}
	link, err := e.tun.Link()
	if err != nil {
		return err
	}
	c := tunnel.Diff(present(now.config, link.MTU, t.last), config)
	// Noted before the changes: a peer may shake hands as soon as it is known.
	// Kept for the next Apply if a step below fails.
	asked := t.options.Now()
	for key, fresh := range toGreet(c, config) {
		t.ungreeted[key] = greeting{at: asked, fresh: fresh || t.ungreeted[key].fresh}
	}
	if err := e.change(ctx, c, now.config.ListenPort); err != nil {
		return err
	}
	if !e.up.Load() {
		if err := e.device.Up(); err != nil {
			return fmt.Errorf("open UDP port %d: %w", config.ListenPort, err)
		}
		e.up.Store(true)
	}
	t.last = cloned(config)
	t.greeter.add(t.ungreeted)
	clear(t.ungreeted)
	if !c.Empty() {
		t.log.Debug("tunnel configured", "peers_changed", len(c.Peers), "peers_removed", len(c.Removed), "peers", len(config.Peers))
	}
	return nil
}

// present is what the tunnel is now as Diff wants it: the engine's own word,
// which knows what wg(8) changed, but the endpoints as last configured, so
// that a peer which roamed is left where it is.
func present(now tunnel.Config, mtu int, last tunnel.Config) tunnel.Config {
	now.MTU = mtu
	configured := make(map[wgkey.PublicKey]tunnel.Peer, len(last.Peers))
	for _, p := range last.Peers {
		configured[p.PublicKey] = p
	}
	now.Peers = slices.Clone(now.Peers)
	for i, p := range now.Peers {
		if q, ok := configured[p.PublicKey]; ok {
			now.Peers[i].Endpoint = q.Endpoint
		}
	}
	return now
}

// toGreet are the new peers, those with a new endpoint, and all of them when
// this side's key changes, which ends every session. It is true for those that
// have no session of use.
func toGreet(c tunnel.Changes, config tunnel.Config) map[wgkey.PublicKey]bool {
	keys := make(map[wgkey.PublicKey]bool)
	for _, p := range c.Peers {
		if p.New || p.Endpoint.IsValid() {
			keys[p.PublicKey] = p.New
		}
	}
	if c.PrivateKey != nil {
		for _, p := range config.Peers {
			keys[p.PublicKey] = true
		}
	}
	return keys
}

// change makes the changes in an order that leaves no prefix without a peer;
// port is the one in use.
func (e *engine) change(ctx context.Context, c tunnel.Changes, port uint16) error {
	if c.MTU != nil {
		if err := e.tun.SetMTU(*c.MTU); err != nil {
			return err
		}
	}
	if text := identityText(c); text != "" {
		if err := e.set(text); err != nil {
			return fmt.Errorf("set private key or firewall mark: %w", err)
		}
	}
	if c.ListenPort != nil {
		if err := e.setPort(*c.ListenPort, port); err != nil {
			return err
		}
	}
	var texts []string
	for _, p := range c.Peers {
		texts = append(texts, peerText(p))
	}
	for _, key := range c.Removed {
		texts = append(texts, removalText(key))
	}
	for some := range slices.Chunk(texts, peersAtOnce) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.set(strings.Join(some, "")); err != nil {
			return fmt.Errorf("set peers: %w", err)
		}
	}
	return nil
}

// setPort moves the engine to another UDP port; when that one cannot be
// opened, back to the old one, because the engine would stay deaf.
func (e *engine) setPort(port, old uint16) error {
	err := e.set(portText(port))
	if err == nil {
		return nil
	}
	err = fmt.Errorf("open UDP port %d: %w", port, err)
	if old == 0 {
		return err
	}
	if back := e.set(portText(old)); back != nil {
		return errors.Join(err, fmt.Errorf("return to UDP port %d: %w", old, back))
	}
	return err
}

// set hands UAPI text to the engine. The engine's error may quote the text, so
// that only its code is told.
func (e *engine) set(text string) error {
	runtime.Gosched() // packets go first
	err := e.device.IpcSet(text)
	var coded *device.IPCError
	if errors.As(err, &coded) {
		return unix.Errno(-coded.ErrorCode())
	}
	return err
}

func cloned(c tunnel.Config) tunnel.Config {
	c.Peers = slices.Clone(c.Peers)
	for i, p := range c.Peers {
		c.Peers[i].AllowedIPs = slices.Clone(p.AllowedIPs)
	}
	return c
}
