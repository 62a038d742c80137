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
	now.config.MTU = link.MTU
	c := tunnel.Diff(now.config.AsConfigured(t.last), config)
	// Noted before the changes: a peer may shake hands as soon as it is known.
	// Kept for the next Apply if a step below fails.
	asked := t.options.Now()
	for key, fresh := range c.Greetings(config) {
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
	t.last = config.Clone()
	t.greeter.add(t.ungreeted)
	clear(t.ungreeted)
	if !c.Empty() {
		t.log.Debug("tunnel configured", "peers_changed", len(c.Peers), "peers_removed", len(c.Removed), "peers", len(config.Peers))
	}
	return nil
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
