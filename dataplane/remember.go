package dataplane

import (
	"slices"

	"github.com/wgsteer/wgsteer/keymgr"
)

// remembered is the plan for the peers programmed by an earlier run: the guard knows
// them as remote before their records are read.
func (r *reconciler) remembered() plan {
	return makePlan(r.config, r.key, r.facts, r.known.Nodes)
}

// remember keeps on disk who is programmed, and who was and still has an
// accepted record: what keeps that from being programmed now may pass. With them
// is what the source told of this node.
func (r *reconciler) remember(accepted, kept []keymgr.Node) error {
	holders := map[string]bool{}
	for _, n := range append(slices.Clone(kept), r.known.Nodes...) {
		holders[n.Name] = true
	}
	r.known = keymgr.ClaimsOf(filter(accepted, func(n keymgr.Node) bool { return holders[n.Name] }))
	if !r.ledger.enter(keymgr.ClaimsOf(append(ownClaim(r.config, r.facts.local), r.known.Nodes...)), r.config.Now()) {
		return nil
	}
	return r.settle()
}

// settle writes what the ledger owes.
func (r *reconciler) settle() error {
	if r.ledger.owed == nil {
		return nil
	}
	err := r.store.SaveClaims(*r.ledger.owed)
	r.ledger.tried(err == nil, r.config.Now())
	if err := r.part("claims", err); err != nil {
		return errLater{err}
	}
	return nil
}

// programmed are the nodes that the plan kept as peers.
func programmed(nodes []keymgr.Node, p plan) []keymgr.Node {
	kept := map[string]bool{}
	for _, peer := range p.steering.Peers {
		kept[peer.Name] = true
	}
	return filter(nodes, func(n keymgr.Node) bool { return kept[n.Name] })
}

// recall takes apart what remember kept: the peers, and what the source told of
// this node last.
func recall(node string, claims keymgr.Claims) (peers []keymgr.Node, local *keymgr.Local) {
	own, peers := claims.Apart(node)
	if len(own.PodCIDRs) == 0 {
		return peers, nil
	}
	return peers, &keymgr.Local{PodCIDRs: own.PodCIDRs}
}

// ownClaim is this node among the claims, as far as the source told of it and that
// is in use: the rest is known without.
func ownClaim(c Config, local *keymgr.Local) []keymgr.Node {
	if len(c.PodCIDRs) > 0 || local == nil || len(local.PodCIDRs) == 0 {
		return nil
	}
	return []keymgr.Node{{Name: c.Node, PodCIDRs: local.PodCIDRs}}
}
