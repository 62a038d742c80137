package main

import (
	"context"
	"reflect"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// How often the record's status and the start-up taint are looked after: while
// starting, and after.
const (
	tellStarting = 250 * time.Millisecond
	tellRunning  = 5 * time.Second
	// tellAnyway is how long a start may take untold: what it goes through in a second
	// or two is not worth a write, which would put off the next one.
	tellAnyway = 5 * time.Second
)

// tellCluster keeps this node's record in Kubernetes in the picture of how it is, and
// takes a start-up taint off the node once pods may come; again where the node
// gets it again, as one that registers anew does; "" is no taint.
func (d *daemon) tellCluster(ctx context.Context, taint string) error {
	var seen silence
	var told v1alpha1.WireGuardNodeStatus
	failing, start := "", time.Now()
	for {
		status, now := d.planeStatus(), time.Now()
		next := recordStatus(status, d.version.Version, seen.look(status.Peers, now), told, now)
		worth := status.Ready || now.Sub(start) >= tellAnyway || len(told.Conditions) > 0
		if worth && !reflect.DeepEqual(next, told) {
			if err := d.cluster.PublishStatus(ctx, next); err != nil {
				if ctx.Err() != nil {
					return nil // the end, as below
				}
				return err
			}
			told = next
		}
		if taint != "" && podsMayCome(status) {
			failing = d.removeTaint(ctx, taint, failing)
		}
		period := tellStarting
		if status.Ready {
			period = tellRunning
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(period):
		}
	}
}

// podsMayCome reports whether the start-up taint has nothing more to wait for: the guard
// stands, and it is known which pods are this node's, as the state ready says. Before
// that nothing has told of those that clusterCIDRs do not hold.
func podsMayCome(s dataplane.Status) bool {
	stands, _ := guardStands(s)
	return stands && s.Ready
}

// removeTaint tries once, and logs a failure when it is another than before, which
// it returns.
func (d *daemon) removeTaint(ctx context.Context, key, failing string) string {
	removed, err := d.cluster.RemoveTaint(ctx, key)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		if err.Error() != failing {
			d.log.Error("take the start-up taint off this node", "taint", key, "error", err)
		}
		return err.Error()
	case removed:
		d.log.Info("took the start-up taint off this node", "taint", key)
	}
	return ""
}
