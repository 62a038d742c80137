package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// refresh is how often the host's facts are read again without a cause, and
// what someone else undid is done again.
const refresh = 30 * time.Second

// reconciler makes the host what config and snapshot say. One goroutine runs
// it; only its view is shared.
type reconciler struct {
	d      *DataPlane
	config Config
	log    *slog.Logger
	store  *keymgr.Store
	known  keymgr.Claims // what was programmed last, as remembered on disk
	notes  []keymgr.Problem
	key    wgkey.PrivateKey

	steer *steering.Steering
	state steering.State // as last applied

	tunnel      tunnel.Tunnel
	tunnelEnded chan error // one value when tunnel ends
	stopTunnel  context.CancelFunc

	facts     facts
	snapshots chan keymgr.Snapshot // at most the newest
	snapshot  *keymgr.Snapshot     // nil before the first
	view      view
}

func newReconciler(d *DataPlane, config Config) *reconciler {
	r := &reconciler{
		d: d, config: config,
		log:       config.Logger.With("node", config.Node),
		store:     keymgr.NewStore(config.StateDir),
		snapshots: make(chan keymgr.Snapshot, 1),
	}
	r.view = *d.view.Load()
	r.view.config = config
	return r
}

// show changes the view that Status reads.
func (r *reconciler) show(change func(*view)) {
	change(&r.view)
	v := r.view
	v.failing = maps.Clone(v.failing)
	r.d.view.Store(&v)
}

// stage enters a state.
func (r *reconciler) stage(s State) {
	if r.view.state == s {
		return
	}
	r.show(func(v *view) { v.state, v.since = s, r.config.Now() })
	r.log.Info("state", "state", string(s))
}

// part notes whether a part works; a change is logged. It returns err.
func (r *reconciler) part(name string, err error) error {
	was := r.view.failing[name]
	switch {
	case errors.Is(err, context.Canceled): // the end of Run, no failure
	case err == nil && was != "":
		r.log.Info("works again", "part", name)
		r.show(func(v *view) { delete(v.failing, name) })
	case err != nil && was != err.Error():
		r.log.Error("failing", "part", name, "error", err)
		r.show(func(v *view) {
			if v.failing == nil {
				v.failing = map[string]string{}
			}
			v.failing[name] = err.Error()
		})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// reconcile goes from whatever is to what should be. It may be called again
// after an error.
func (r *reconciler) reconcile(ctx context.Context) error {
	if err := r.part("tunnel", r.ensureTunnel(ctx)); err != nil {
		return err
	}
	var nodes []keymgr.Node
	problems := r.notes
	if r.snapshot != nil {
		accepted, conflicts := keymgr.Resolve(self(r.config, r.key.Public(), r.facts), r.known, *r.snapshot)
		nodes = accepted
		problems = append(append(problems[:len(problems):len(problems)], r.snapshot.Problems...), conflicts...)
	}
	if err := r.part("facts", r.discover(nodes)); err != nil {
		return err
	}
	next := makePlan(r.config, r.key, r.facts, nodes)
	problems = append(problems[:len(problems):len(problems)], next.problems...)
	if r.snapshot == nil {
		next.steering.Peers = r.remembered().Peers
	}
	if err := r.part("apply", r.apply(ctx, next)); err != nil {
		return err
	}
	published := r.part("publish", r.config.Source.Publish(ctx, next.self))
	link, err := r.tunnel.Link()
	if err != nil {
		return r.part("tunnel", err)
	}
	r.reportProblems(problems)
	r.show(func(v *view) {
		v.config, v.key, v.self, v.mtu = r.config, r.key.Public(), next.self, link.MTU
		v.problems, v.nodes = problems, programmed(nodes, next)
	})
	if r.snapshot == nil {
		r.stage(Steering)
		return published
	}
	r.known = keymgr.ClaimsOf(nodes)
	remembered := r.part("claims", r.store.SaveClaims(r.known))
	r.stage(Ready)
	return errors.Join(published, remembered)
}

// programmed are the nodes that the plan kept as peers.
func programmed(nodes []keymgr.Node, p plan) []keymgr.Node {
	kept := map[string]bool{}
	for _, peer := range p.steering.Peers {
		kept[peer.Name] = true
	}
	return filter(nodes, func(n keymgr.Node) bool { return kept[n.Name] })
}

// apply goes from the state applied last to next: peers first and steering
// second for what is added, the other way round for what is removed.
func (r *reconciler) apply(ctx context.Context, next plan) error {
	if step, removed := withoutRemoved(r.state, next.steering); removed {
		if err := r.steerTo(ctx, step); err != nil {
			return err
		}
	}
	// The programs stand on the tunnel device before it has its first peer.
	if r.state.Tunnel.Index != next.steering.Tunnel.Index {
		first := next.steering
		first.Peers = r.state.Peers
		if err := r.steerTo(ctx, first); err != nil {
			return err
		}
	}
	if err := r.tunnel.Apply(ctx, next.tunnel); err != nil {
		return err
	}
	return r.steerTo(ctx, next.steering)
}

func (r *reconciler) steerTo(ctx context.Context, s steering.State) error {
	if err := r.steer.Apply(ctx, s); err != nil {
		return err
	}
	r.state = s
	return nil
}

// discover reads the host's facts; nodes are those that will be programmed.
func (r *reconciler) discover(nodes []keymgr.Node) error {
	var endpoints []netip.Addr
	for _, n := range nodes {
		if n.Name != r.config.Node && n.Endpoint.IsValid() {
			endpoints = append(endpoints, n.Endpoint.Addr())
		}
	}
	found, err := steering.Discover(endpoints, r.config.Devices)
	if err != nil {
		return err
	}
	f := facts{uplinks: found.Uplinks, defaultAddresses: found.DefaultAddresses}
	if r.tunnel != nil {
		if f.tunnel, err = r.tunnel.Link(); err != nil {
			return err
		}
	}
	if err := checkSelf(r.config, self(r.config, r.key.Public(), f)); err != nil {
		return err
	}
	r.facts = f
	return nil
}

// remembered is the steering state of the peers programmed by an earlier run:
// the guard knows them as remote before their records are read.
func (r *reconciler) remembered() steering.State {
	return makePlan(r.config, r.key, r.facts, r.known.Nodes).steering
}

// reportProblems logs what is new among the problems.
func (r *reconciler) reportProblems(problems []keymgr.Problem) {
	known := map[keymgr.Problem]bool{}
	for _, p := range r.view.problems {
		known[p] = true
	}
	for _, p := range problems {
		if known[p] {
			continue
		}
		level := slog.LevelError
		if p.Warning {
			level = slog.LevelWarn
		}
		r.log.Log(context.Background(), level, "node record", "peer", p.Node, "record", p.Record, "problem", p.Message)
	}
}
