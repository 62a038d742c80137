package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
)

// How long the prefixes of the cluster's pods are asked for. Where they are remembered
// that is once, so that a restart has its tunnel as quickly without an API server;
// where they are not, again and again: a machine that has just booted may have no
// network for a while.
const (
	findAgainWithin = time.Second
	findWithin      = 30 * time.Second
	findPause       = time.Second // between two tries
)

// foundCluster is what was found of the cluster where the configuration does not
// say it.
type foundCluster struct {
	keymgr.Cluster
	// Unconfirmed says why it is what an earlier start had found; "" where it was
	// found now.
	Unconfirmed string `json:"unconfirmed,omitempty"`
	// Unsaved says why a start without API server will not have it; "" where it will.
	Unsaved string `json:"unsaved,omitempty"`
	// SetAside is where what was remembered is now, damaged; "" where it was not.
	SetAside string `json:"setAside,omitempty"`
}

// problems are what is wrong with what is remembered, on a node of this name.
func (f foundCluster) problems(node string) []keymgr.Problem {
	var problems []keymgr.Problem
	tell := func(warning bool, format string, args ...any) {
		problems = append(problems, keymgr.Problem{Node: node, Record: "clusterCIDRs", Warning: warning, Message: fmt.Sprintf(format, args...)})
	}
	if f.Unsaved != "" {
		tell(false, "a start without API server will not have what was found of the cluster: %s; mend that, then reload", f.Unsaved)
	}
	if f.SetAside != "" {
		tell(true, "what was remembered of the cluster was corrupt: it was set aside as %s, and found anew; look into the disk, then delete that file", f.SetAside)
	}
	return problems
}

// finder asks the cluster for its prefixes, once. Where it answered, and does not
// know them, the error is errNotToBeFound.
type finder func(context.Context) (keymgr.Cluster, error)

// errNotToBeFound is what no further try changes.
var errNotToBeFound = errors.New("set clusterCIDRs to the prefixes that hold all pods of the cluster")

// withCluster is the configuration with the prefixes of the cluster's pods, found
// if they are not configured, and then remembered for starts without an API server.
func (c configuration) withCluster(ctx context.Context, log *slog.Logger) (configuration, error) {
	if !c.findsCluster() {
		return c, nil
	}
	remembered, setAside, err := keymgr.NewStore(c.Plane.StateDir).LoadCluster()
	if err != nil {
		log.Warn("what was found of the cluster before cannot be read", "error", err)
	}
	if setAside != "" {
		log.Warn("what was found of the cluster before is corrupt, and set aside", "file", setAside)
	}
	if c, err = c.lookUpCluster(ctx, log, remembered); err != nil {
		return c, err
	}
	c.Cluster.SetAside = setAside
	log.Info("pods of the cluster", "clusterCIDRs", commas(c.Cluster.CIDRs), "from", c.Cluster.From, "unconfirmed", c.Cluster.Unconfirmed)
	c.rememberCluster(log)
	return c, nil
}

// rememberCluster tells where that fails, such as on a full disk: no reason to leave
// the node without a guard.
func (c configuration) rememberCluster(log *slog.Logger) {
	if err := keymgr.NewStore(c.Plane.StateDir).SaveCluster(c.Cluster.Cluster); err != nil {
		c.Cluster.Unsaved = err.Error()
		log.Error("remember the prefixes of the cluster's pods for a start without API server", "error", err)
	}
}

// lookUpCluster finds them, or takes those that are remembered, and remembers nothing.
// Where nothing is known at all that is an error: before anything is guarded it has to be
// known what a pod is.
func (c configuration) lookUpCluster(ctx context.Context, log *slog.Logger, remembered keymgr.Cluster) (configuration, error) {
	find, err := c.finder()
	if err != nil {
		return c, err
	}
	found, err := recall(ctx, log, find, remembered)
	if err != nil {
		return c, err
	}
	return c.in(found)
}

// recall finds the cluster's prefixes, or takes those that are remembered.
func recall(ctx context.Context, log *slog.Logger, find finder, remembered keymgr.Cluster) (foundCluster, error) {
	ask := findRepeatedly
	if len(remembered.CIDRs) > 0 {
		ask = findOnce
	}
	found, err := ask(ctx, log, find)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return foundCluster{}, ctx.Err() // asked to end: nobody needs them any more
	case err == nil:
		if len(remembered.CIDRs) > 0 && !slices.Equal(found.CIDRs, remembered.CIDRs) {
			log.Warn("the cluster's prefixes have changed", "were", commas(remembered.CIDRs), "are", commas(found.CIDRs))
		}
		return foundCluster{Cluster: withFormer(found, remembered.CIDRs)}, nil
	case len(remembered.CIDRs) == 0:
		return foundCluster{}, fmt.Errorf("find the prefixes of the cluster's pods: %w", err)
	}
	log.Warn("the prefixes of the cluster's pods are those that an earlier start found", "error", err)
	return foundCluster{Cluster: remembered, Unconfirmed: err.Error()}, nil
}

// withFormer is what was found, and what it does not hold of the prefixes that were
// there before: pods may have addresses there still, and what is in no prefix passes in
// plaintext.
func withFormer(found keymgr.Cluster, former []netip.Prefix) keymgr.Cluster {
	within := func(p netip.Prefix, all []netip.Prefix) bool {
		return slices.ContainsFunc(all, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Overlaps(p) })
	}
	former = slices.DeleteFunc(slices.Clone(former), func(p netip.Prefix) bool { return within(p, found.CIDRs) })
	if len(former) == 0 {
		return found
	}
	found.CIDRs = slices.DeleteFunc(slices.Clone(found.CIDRs), func(p netip.Prefix) bool { return within(p, former) })
	return keymgr.Cluster{
		CIDRs: append(found.CIDRs, former...),
		From:  fmt.Sprintf("%s, and %s by an earlier start (set clusterCIDRs when no pod is there any more)", found.From, commas(former)),
	}
}

// findOnce is for whoever has something to fall back to.
func findOnce(ctx context.Context, _ *slog.Logger, find finder) (keymgr.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, findAgainWithin)
	defer cancel()
	found, err := find(ctx)
	if err == nil || errors.Is(err, errNotToBeFound) {
		return found, err
	}
	return found, fmt.Errorf("the API server did not tell: %w; mend that, or %w", err, errNotToBeFound)
}

// findRepeatedly tries until it is answered, or the time is over.
func findRepeatedly(ctx context.Context, log *slog.Logger, find finder) (keymgr.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	start := time.Now()                     // ctx may have less time
	last := error(context.DeadlineExceeded) // of a try that the end did not interrupt
	for {
		found, err := find(ctx)
		if err == nil || errors.Is(err, errNotToBeFound) {
			return found, err
		}
		if ctx.Err() == nil && err.Error() != last.Error() {
			last = err
			log.Warn("waiting for the API server, to find the prefixes of the cluster's pods", "longest", findWithin, "error", err)
		}
		select {
		case <-ctx.Done():
			return keymgr.Cluster{}, fmt.Errorf("the API server did not tell within %s: %w; mend that, or %w", time.Since(start).Round(100*time.Millisecond), last, errNotToBeFound)
		case <-time.After(findPause):
		}
	}
}

// in is the configuration in the cluster that was found.
func (c configuration) in(found foundCluster) (configuration, error) {
	c.Plane.ClusterCIDRs, c.Cluster = found.CIDRs, &found
	if _, err := dataplane.New(c.plane(slog.New(slog.DiscardHandler), unread{})); err != nil {
		return c, fmt.Errorf("the prefixes of the cluster's pods are %s by %s, but: %w; set clusterCIDRs", commas(found.CIDRs), found.From, err)
	}
	return c, nil
}
