package dataplane

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
)

const (
	// sessionLife is how long a WireGuard session is good for
	// (Reject-After-Time, WireGuard paper, section 6.1).
	sessionLife = 180 * time.Second
	// rekeyTimeout is how long after a handshake none is started (ibid.).
	rekeyTimeout = 5 * time.Second
	// poll is how often handshakes are looked for: the engine tells no event.
	poll = 10 * time.Millisecond
)

// reload runs in the reconciler. The old configuration comes back if the new
// one cannot be applied.
func (r *reconciler) reload(ctx context.Context, config Config) error {
	old := r.config
	config.Source = old.Source
	r.config = config
	err := r.reconcile(ctx)
	if err == nil || errors.As(err, new(errLater)) {
		r.log.Info("reloaded")
		return nil
	}
	r.config = old
	if back := r.reconcile(ctx); back != nil && !errors.As(back, new(errLater)) {
		return fmt.Errorf("%w (and the running configuration could not be restored: %w)", err, back)
	}
	return fmt.Errorf("the running configuration stays: %w", err)
}

// RotateKey replaces this node's private key, publishes the new public one and
// waits, until ctx ends, for the peers that had a session to take it up. The
// new key stays in force even where peers have not followed; the error then
// names them.
func (d *DataPlane) RotateKey(ctx context.Context) (Rotation, error) {
	var result Rotation
	var before []string
	var start time.Time
	err := d.ask(ctx, func(ctx context.Context, r *reconciler) error {
		before = withSession(d.Status(), r.config.Now().Add(-sessionLife))
		result.OldPublicKey = r.key.Public()
		start = r.config.Now()
		err := r.rotate(ctx)
		result.NewPublicKey = r.key.Public()
		if err != nil {
			return err
		}
		r.log.Info("rotated the private key", "old", result.OldPublicKey, "new", result.NewPublicKey)
		return r.greetAll()
	})
	if err != nil {
		return result, err
	}
	missing := d.awaitHandshakes(ctx, before, start)
	result.PeersBefore, result.PeersAfter = len(before), len(before)-len(missing)
	for _, p := range d.Status().Peers {
		if slices.Contains(before, p.Name) && p.LastHandshake.After(start) {
			result.Interruption = max(result.Interruption, p.LastHandshake.Sub(start))
		}
	}
	if len(missing) > 0 {
		return result, fmt.Errorf("no handshake under the new key with %q yet: do they read this node's new record? (wgsteer status there shows it)", missing)
	}
	return result, nil
}

// rotate runs in the reconciler.
func (r *reconciler) rotate(ctx context.Context) error {
	_, next, err := r.store.Rotate(rand.Reader)
	if err != nil {
		// The disk may have taken the new key all the same: what a restart would
		// find is in force.
		if stored, lerr := r.store.Load(); lerr == nil && !stored.Equal(r.key) {
			r.key = stored
		}
		return err
	}
	r.key = next
	if r.snapshot != nil { // its record of this node is about to be replaced
		r.snapshot.Nodes = filter(r.snapshot.Nodes, func(n keymgr.Node) bool { return n.Name != r.config.Node })
	}
	err = r.reconcile(ctx)
	if err == nil {
		err = r.settle()
	}
	if err != nil {
		return fmt.Errorf("the new key is stored, but not yet in use everywhere; it is being tried again: %w", err)
	}
	return nil
}

// Greet starts a handshake with every peer and waits, until ctx ends, for their
// answers; it returns the names of those that did not answer. Running sessions
// go on meanwhile. A handshake of the last 5 s counts: WireGuard lets nobody
// start another so soon (Rekey-Timeout). Of a kernel tunnel any session counts: the
// kernel starts no handshake where there is one.
func (d *DataPlane) Greet(ctx context.Context) ([]string, error) {
	var since time.Time
	err := d.ask(ctx, func(_ context.Context, r *reconciler) error {
		since = r.config.Now().Add(-answerAge(r.backend))
		return r.greetAll()
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range d.Status().Peers {
		names = append(names, p.Name)
	}
	return d.awaitHandshakes(ctx, names, since), nil
}

// answerAge is how old a handshake may be that answers a greeting.
func answerAge(b Backend) time.Duration {
	if b == Kernel {
		return sessionLife
	}
	return rekeyTimeout
}

// greetAll runs in the reconciler.
func (r *reconciler) greetAll() error {
	if r.tunnel == nil {
		return ErrNotRunning
	}
	keys := make([]wgkey.PublicKey, len(r.view.nodes))
	for i, n := range r.view.nodes {
		keys[i] = n.PublicKey
	}
	return r.tunnel.Greet(keys...)
}

// handshakesAfter names the peers whose last handshake came after since; it
// asks the tunnel alone, as it is called often.
func (d *DataPlane) handshakesAfter(since time.Time) []string {
	v := d.view.Load()
	if v.tunnel == nil {
		return nil
	}
	stats, err := v.tunnel.Stats()
	if err != nil {
		return nil
	}
	return withSession(Status{Peers: peers(v.nodes, stats.Peers, nil)}, since)
}

// withSession names the peers whose last handshake came after since.
func withSession(s Status, since time.Time) []string {
	var names []string
	for _, p := range s.Peers {
		if p.LastHandshake.After(since) {
			names = append(names, p.Name)
		}
	}
	return names
}

// awaitHandshakes waits until each of names has a handshake after since, or
// ctx or the data plane ends; it returns those that have none.
func (d *DataPlane) awaitHandshakes(ctx context.Context, names []string, since time.Time) []string {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		done := map[string]bool{}
		for _, n := range d.handshakesAfter(since) {
			done[n] = true
		}
		missing := filter(names, func(n string) bool { return !done[n] })
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return missing
		case <-d.done:
			return missing
		case <-ticker.C:
		}
	}
}
