package dataplane

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wgsteer/wgsteer/internal/background"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
)

// How long a failed part rests before the next try: doubling from the first to
// the last.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// run goes through the states until ctx ends.
func (r *reconciler) run(ctx context.Context) error {
	r.stage(Checking)
	if err := r.check(); err != nil {
		return err
	}
	r.stage(Guarding)
	if err := r.guard(ctx); err != nil {
		return err
	}
	defer r.steer.Close()
	if r.noBackend != nil { // with the guard up: what cannot be encrypted does not leave
		return r.noBackend
	}
	r.stage(Tunnelling)
	g, ctx := errgroup.WithContext(ctx)
	behind := func(task func(context.Context) error) {
		g.Go(func() error {
			background.Thread() // packets go first
			return task(ctx)
		})
	}
	behind(r.steer.Run)
	behind(func(ctx context.Context) error { return r.loop(ctx, func() { behind(r.followSource) }) })
	return g.Wait()
}

// check reads key, claims and facts; it makes the key on the first start.
func (r *reconciler) check() error {
	loaded, err := r.store.LoadOrCreate(rand.Reader)
	if err != nil {
		return err
	}
	r.key = loaded.Key
	switch {
	case loaded.SetAside != "":
		r.note("the private key was corrupt: it was set aside as %s and a new one made; look into the disk, then delete that file", loaded.SetAside)
	case loaded.Created:
		r.log.Info("made a private key", "publicKey", r.key.Public())
	}
	known, setAside, err := r.store.LoadClaims()
	if err != nil {
		return err
	}
	r.ledger.stored = known
	r.known.Nodes, r.facts.local = recall(r.config.Node, known)
	if setAside != "" {
		r.note("what was remembered of the peers was corrupt: it was set aside as %s, and peers that claim the same are refused until one of them is corrected; look into the disk, then delete that file", setAside)
	}
	r.noBackend = r.chooseBackend()
	if err := r.discover(r.known.Nodes); err != nil {
		return err
	}
	if r.backend.outlives() { // the guard lets packets into what still carries them
		if r.facts.tunnel, err = standing(r.config.Interface); err != nil {
			return err
		}
	}
	r.show(func(v *view) { v.key, v.self = r.key.Public(), self(r.config, r.key.Public(), r.facts) })
	return nil
}

// note keeps a problem of this node itself in sight until the process ends.
func (r *reconciler) note(format string, args ...any) {
	p := keymgr.Problem{Node: r.config.Node, Record: r.config.StateDir, Message: fmt.Sprintf(format, args...)}
	r.notes = append(r.notes, p)
	r.log.Error("state directory", "problem", p.Message)
	r.show(func(v *view) { v.problems = r.notes })
}

// guard puts the programs in place before this process has a tunnel: what must not
// leave in plaintext is dropped from here on.
func (r *reconciler) guard(ctx context.Context) error {
	options := r.config.steeringOptions(r.log)
	options.UplinksChanged = r.uplinksChanged
	steer, err := steering.New(options)
	if err != nil {
		return err
	}
	r.steer = steer
	if err := r.steerTo(ctx, r.remembered().steering); err != nil {
		return errors.Join(err, steer.Close())
	}
	r.show(func(v *view) { v.steering = steer })
	return nil
}

// uplinksChanged has the loop look at them.
func (r *reconciler) uplinksChanged() {
	select {
	case r.uplinks <- struct{}{}:
	default: // it will
	}
}

// loop reconciles whenever something changed, and again after an error. It
// calls follow once, when the tunnel stands and this node's record is published.
func (r *reconciler) loop(ctx context.Context, follow func()) error {
	defer r.endTunnel(ctx)
	defer r.settle()
	retry := firstRetry
	for {
		err := r.reconcile(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case follow == nil:
		case r.view.state == Tunnelling:
			return err // the first start: better a clear end than a silent wait
		default:
			follow()
			follow = nil
		}
		rest := refresh
		if err != nil {
			rest, retry = retry, min(2*retry, lastRetry)
		} else {
			retry = firstRetry
		}
		if err := r.wait(ctx, rest); err != nil {
			return err
		}
	}
}

// wait returns when there is cause to reconcile; only ctx's end is an error.
func (r *reconciler) wait(ctx context.Context, longest time.Duration) error {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-r.ledger.due(r.config.Now()):
			r.settle() // what fails is told, and is due again later
		case <-r.uplinks:
			return nil
		case s := <-r.snapshots:
			r.snapshot, r.facts.local = &s, localAfter(r.facts.local, s)
			return r.part("source", nil)
		case err := <-r.tunnelEnded:
			r.tunnelLost(ctx, err)
			return ctx.Err()
		case req := <-r.d.requests:
			err := req.do(ctx, r)
			req.done <- err
			if err != nil {
				return ctx.Err() // what is half done is tried again at once
			}
		}
	}
}

// followSource keeps the newest snapshot in r.snapshots.
func (r *reconciler) followSource(ctx context.Context) error {
	deliver := func(s keymgr.Snapshot) {
		select {
		case <-r.snapshots: // outdated
		default:
		}
		r.snapshots <- s // the only sender: there is room
	}
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := r.config.Source.Run(ctx, deliver)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		failed := fmt.Errorf("read the node records: %w", err)
		report := func(_ context.Context, r *reconciler) error { r.part("source", failed); return nil }
		if err := r.d.ask(ctx, report); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}

// ensureTunnel starts a tunnel if none runs, and waits until it is ready.
func (r *reconciler) ensureTunnel(ctx context.Context) error {
	if r.tunnel != nil {
		return nil
	}
	t, err := r.newTunnel()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- t.Run(ctx) }()
	select {
	case <-t.Ready():
	case err := <-ended:
		if err == nil {
			err = cmp.Or(ctx.Err(), errors.New("it ended by itself"))
		}
		cancel()
		return err
	}
	r.tunnel, r.tunnelEnded, r.stopTunnel = t, ended, cancel
	r.show(func(v *view) { v.tunnel = t })
	return nil
}

// tunnelLost goes back to where there was no tunnel; the next reconciliation
// starts another.
func (r *reconciler) tunnelLost(ctx context.Context, err error) {
	if err == nil {
		err = errors.New("it ended by itself")
	}
	r.part("tunnel", err)
	r.stopTunnel()
	r.tunnel, r.tunnelEnded = nil, nil
	r.show(func(v *view) { v.tunnel = nil })
	r.stage(Tunnelling)
	r.steerNowhere(ctx)
}

// steerNowhere has packets dropped by name rather than redirected to whatever
// device gets the tunnel's index next.
func (r *reconciler) steerNowhere(ctx context.Context) {
	guarded := r.state
	guarded.Tunnel = steering.Tunnel{}
	r.part("steering", r.steerTo(ctx, guarded))
}

// endTunnel stops the tunnel, if there is one, and waits for its end. The guard
// stays; so does a tunnel that goes on without this process.
func (r *reconciler) endTunnel(ctx context.Context) {
	if r.tunnel == nil {
		return
	}
	if !r.backend.outlives() {
		r.steerNowhere(context.WithoutCancel(ctx))
	}
	r.stopTunnel()
	<-r.tunnelEnded
	r.tunnel = nil
	r.show(func(v *view) { v.tunnel = nil })
}
