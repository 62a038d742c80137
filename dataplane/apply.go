package dataplane

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"

	"github.com/wgsteer/wgsteer/steering"
)

// apply goes from the state applied last to next: peers first and steering
// second for what is added, the other way round for what is removed. A step that
// fails keeps no other from being done: none of them opens a way for plaintext.
func (r *reconciler) apply(ctx context.Context, next plan) error {
	var errs []error
	arrived := false // where the removals alone are the way there
	if step, removed := withoutRemoved(r.state, next.steering); removed {
		err := r.steerTo(ctx, step)
		arrived = err == nil && reflect.DeepEqual(step, next.steering)
		errs = append(errs, err)
	}
	// The programs stand on the tunnel device before it has its first peer.
	if r.state.Tunnel.Index != next.steering.Tunnel.Index {
		first := next.steering
		first.Peers = r.state.Peers
		if err := r.steerTo(ctx, first); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	errs = append(errs, r.tunnel.Apply(ctx, next.tunnel))
	if !arrived {
		errs = append(errs, r.steerTo(ctx, next.steering))
	}
	return errors.Join(errs...)
}

// steerTo hands a state over; steering goes on trying where it fails.
func (r *reconciler) steerTo(ctx context.Context, s steering.State) error {
	r.state = s
	return r.steer.Apply(ctx, s)
}

// withoutRemoved is the step between two steering states that is safe before
// the tunnel forgets peers: what old has and next has not is already gone,
// what next adds is not there yet. A prefix that only moves to another peer
// stays, as it will be encrypted all the same. removed tells whether anything
// is gone, so that the step is needed at all.
func withoutRemoved(old, next steering.State) (step steering.State, removed bool) {
	kept := map[netip.Prefix]bool{}
	for _, p := range next.Peers {
		for _, cidr := range remotePrefixes(p) {
			kept[cidr] = true
		}
	}
	step = old
	step.Peers = make([]steering.Peer, 0, len(old.Peers))
	for _, p := range old.Peers {
		had := len(p.PodCIDRs) + len(p.NodeIPs)
		p.PodCIDRs = filter(p.PodCIDRs, func(c netip.Prefix) bool { return kept[c] })
		p.NodeIPs = filter(p.NodeIPs, func(a netip.Addr) bool { return kept[hostPrefix(a)] })
		has := len(p.PodCIDRs) + len(p.NodeIPs)
		removed = removed || has < had
		if has > 0 {
			step.Peers = append(step.Peers, p)
		}
	}
	return step, removed
}

func remotePrefixes(p steering.Peer) []netip.Prefix {
	return append(slices.Clone(p.PodCIDRs), hostPrefixes(p.NodeIPs)...)
}
