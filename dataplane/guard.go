package dataplane

import (
	"context"
	"errors"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/wgkey"
)

// Guard puts in place what keeps the packets between pods of different nodes from
// leaving or entering this node in plaintext, without a tunnel, and returns: what
// Run does first, for the time before Run. It stays until Run takes it over, or
// Teardown of package steering removes it.
//
// It is for a machine that has just booted. It needs no key and no
// network, and reads no records: addresses and devices that are not there yet are guarded when they come,
// by routes and by what asks for no device. The peers are those that the last Run
// remembered; where that cannot be read, the reason is logged, and clusterCIDRs
// alone say what a pod is, nodeCIDRs what a node is. A kernel tunnel of the last Run
// that still carries packets to them goes on to.
//
// It fails where a part of the guard cannot be put up; the others then stand. What
// this host cannot have at all, such as nf_tables, is no error: Failing in the Status
// tells. It is not for a data plane that runs: there it is an error.
func Guard(ctx context.Context, config Config) (steering.Status, error) {
	config, err := complete(config)
	if err != nil {
		return steering.Status{}, err
	}
	nodes, local := rememberedNodes(config)
	f, err := guardFacts(config, nodes, local)
	if err != nil {
		return steering.Status{}, err
	}
	steer, err := steering.New(config.steeringOptions(config.Logger))
	if err != nil {
		return steering.Status{}, err
	}
	err = steer.Apply(ctx, makePlan(config, wgkey.PrivateKey{}, f, nodes).steering)
	status := steer.Status()
	return status, errors.Join(err, steer.Close())
}

// rememberedNodes are the peers of the last Run and what it was told of this node,
// where they can be read. They are left as they are: what is corrupt is Run's to set
// aside and tell.
func rememberedNodes(config Config) (peers []keymgr.Node, local *keymgr.Local) {
	claims, err := keymgr.NewStore(config.StateDir).PeekClaims()
	if err != nil {
		config.Logger.Warn("guarding without the peers of the last run", "error", err)
	}
	return recall(config.Node, claims)
}

// guardFacts are the host's facts as far as there are any. Addresses that are wrong
// are an error, missing ones are not: they tell only what the tunnel may take.
func guardFacts(config Config, nodes []keymgr.Node, local *keymgr.Local) (facts, error) {
	found, err := steering.Discover(endpointsOf(config.Node, nodes), config.Devices)
	if err != nil {
		return facts{}, err
	}
	f := facts{local: local, uplinks: found.Uplinks, defaultAddresses: found.DefaultAddresses}
	if len(nodes) > 0 {
		if f.tunnel, err = standing(config.Interface); err != nil {
			return facts{}, err
		}
	}
	n := self(config, wgkey.PublicKey{}, f)
	if len(n.NodeIPs) == 0 {
		return f, nil
	}
	return f, checkSelf(config, n)
}
