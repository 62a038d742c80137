package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
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
	known  keymgr.Claims // the peers programmed last
	ledger ledger        // what of that is on disk
	notes  []keymgr.Problem
	key    wgkey.PrivateKey

	backend       Backend // chosen by check
	backendReason string  // why
	noBackend     error   // why none could be

	steer *steering.Steering
	state steering.State // as last applied

	tunnel      tunnel.Tunnel
	tunnelEnded chan error // one value when tunnel ends
	stopTunnel  context.CancelFunc

	facts     facts
	uplinks   chan struct{}        // a value when facts.uplinks may be others
	snapshots chan keymgr.Snapshot // at most the newest
	snapshot  *keymgr.Snapshot     // nil before the first
	view      view
}

func newReconciler(d *DataPlane, config Config) *reconciler {
	r := &reconciler{
		d: d, config: config,
		log:       config.Logger.With("node", config.Node),
		store:     keymgr.NewStore(config.StateDir),
		uplinks:   make(chan struct{}, 1),
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
	runtime.Gosched() // packets go first
	was, is := r.view.failing[name], ""
	if err != nil {
		is = strings.ReplaceAll(err.Error(), "\n", "; ") // errors joined
	}
	switch {
	case errors.Is(err, context.Canceled): // the end of Run, no failure
	case is == was:
	case is == "":
		r.log.Info("works again", "part", name)
		r.show(func(v *view) { delete(v.failing, name) })
	default:
		r.log.Error("failing", "part", name, "error", is)
		r.show(func(v *view) {
			if v.failing == nil {
				v.failing = map[string]string{}
			}
			v.failing[name] = is
		})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// errLater wraps a failure that leaves the data plane as configured: it makes it
// degraded and is tried again, but no reason to go back to another configuration.
type errLater struct{ error }

func (e errLater) Unwrap() error { return e.error }

// reconcile goes from whatever is to what should be. It may be called again
// after an error.
func (r *reconciler) reconcile(ctx context.Context) error {
	if err := r.part("tunnel", r.ensureTunnel(ctx)); err != nil {
		return err
	}
	nodes, problems := r.resolve()
	if err := r.part("facts", r.discover(nodes)); err != nil {
		return err
	}
	next := makePlan(r.config, r.key, r.facts, nodes)
	problems = append(problems, next.problems...)
	kept := programmed(nodes, next)
	if r.snapshot == nil {
		remembered := r.remembered()
		next.steering.Peers = remembered.steering.Peers
		if r.backend.outlives() { // its peers may have sessions
			next.tunnel.Peers = remembered.tunnel.Peers
		}
	}
	if err := r.part("apply", r.apply(ctx, next)); err != nil {
		return err
	}
	link, err := r.tunnel.Link()
	if err != nil {
		return r.part("tunnel", err)
	}
	r.reportProblems(problems)
	if link.MTU != r.view.mtu {
		r.log.Info("tunnel MTU", "mtu", next.mtu.Explain(link.MTU))
	}
	r.show(func(v *view) {
		v.config, v.key, v.self = r.config, r.key.Public(), next.self
		v.mtu, v.mtuFrom = link.MTU, next.mtu
		v.problems, v.nodes, v.outside = problems, kept, r.outside(nodes)
	})
	published := r.publish(ctx, next.self)
	if r.snapshot == nil {
		r.stage(Steering)
		return published
	}
	remembered := r.remember(nodes, kept)
	r.stage(Ready)
	return errors.Join(published, remembered)
}

// resolve settles who of the snapshot is a peer. The problems are the caller's.
func (r *reconciler) resolve() (nodes []keymgr.Node, problems []keymgr.Problem) {
	problems = slices.Clone(r.notes)
	if r.snapshot == nil {
		return nil, problems
	}
	snapshot, known := *r.snapshot, r.known
	var unused []keymgr.Problem
	snapshot.Nodes, unused = usable(r.config, snapshot.Nodes)
	known.Nodes, _ = usable(r.config, known.Nodes)
	nodes, conflicts := keymgr.Resolve(self(r.config, r.key.Public(), r.facts), known, snapshot)
	return nodes, slices.Concat(problems, snapshot.Problems, unused, conflicts)
}

// outside are those of the snapshot, and of the nodes that came out of it, whose pods
// are not all within clusterCIDRs: also who is refused has pods.
func (r *reconciler) outside(nodes []keymgr.Node) []string {
	if r.snapshot != nil {
		nodes = slices.Concat(nodes, r.snapshot.Nodes)
	}
	return podsOutside(r.config, nodes)
}

// publish tells the others of this node.
func (r *reconciler) publish(ctx context.Context, self keymgr.Node) error {
	if err := r.part("publish", r.config.Source.Publish(ctx, self)); err != nil {
		return errLater{err}
	}
	return nil
}

// discover reads the host's facts; nodes are those that will be programmed.
func (r *reconciler) discover(nodes []keymgr.Node) error {
	found, err := steering.Discover(endpointsOf(r.config.Node, nodes), r.config.Devices)
	if err != nil {
		return err
	}
	f := facts{
		local:   r.facts.local,
		backend: r.backend, backendReason: r.backendReason,
		uplinks: found.Uplinks, defaultAddresses: found.DefaultAddresses,
	}
	if r.tunnel != nil {
		if f.tunnel, err = r.tunnel.Link(); err != nil {
			return err
		}
	}
	if len(f.uplinks) == 0 {
		f.uplinks = r.facts.uplinks // one that flaps will have the MTU that it had
	}
	if err := checkSelf(r.config, self(r.config, r.key.Public(), f)); err != nil {
		return err
	}
	r.facts = f
	return nil
}

// endpointsOf are where the tunnels of nodes other than self are reached.
func endpointsOf(self string, nodes []keymgr.Node) []netip.Addr {
	var endpoints []netip.Addr
	for _, n := range nodes {
		if n.Name != self && n.Endpoint.IsValid() {
			endpoints = append(endpoints, n.Endpoint.Addr())
		}
	}
	return endpoints
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
