package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// content is what of a record the writer looks at.
type content struct {
	spec   v1alpha1.WireGuardNodeSpec
	owners []metav1.OwnerReference
	status v1alpha1.WireGuardNodeStatus
}

// settled reports whether body was written, and what was there then is so still:
// what others added to it does not go by writing again.
func (w *written) settled(body []byte, there content) bool {
	return !w.failed && bytes.Equal(body, w.body) && equality.Semantic.DeepEqual(there.spec, w.result.spec) &&
		equality.Semantic.DeepEqual(there.owners, w.result.owners) && equality.Semantic.DeepEqual(there.status, w.result.status)
}

// allowance is how many more writes there may be: a burst, and then one now and then.
// A status tells of other nodes' records too, so that one node whose record is wrong in
// another way each second has all nodes write, and all hear of it.
type allowance struct {
	spent int
	at    time.Time // of the write that one was last given back for
}

const (
	allowedAtOnce = 12
	allowedEvery  = time.Minute
)

// wait is how long there is none.
func (a *allowance) wait(now time.Time) time.Duration {
	back := int(now.Sub(a.at) / allowedEvery)
	if back >= a.spent {
		*a = allowance{at: now}
		return 0
	}
	a.spent, a.at = a.spent-back, a.at.Add(time.Duration(back)*allowedEvery)
	if a.spent < allowedAtOnce {
		return 0
	}
	return a.at.Add(allowedEvery).Sub(now)
}

// since gives conditions that are there already the time that they have there.
func since(status v1alpha1.WireGuardNodeStatus, there []metav1.Condition, now time.Time) v1alpha1.WireGuardNodeStatus {
	status = *status.DeepCopy()
	for i := range status.Conditions {
		c := &status.Conditions[i]
		if c.LastTransitionTime.IsZero() {
			c.LastTransitionTime = metav1.NewTime(now.UTC().Truncate(time.Second))
		}
		for _, old := range there {
			if old.Type == c.Type && old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return status
}

// applyStatus writes the status if it is another, once there is a record.
func (w *writer) applyStatus(ctx context.Context, name string, status v1alpha1.WireGuardNodeStatus) time.Duration {
	r, there := w.cluster.records.get(name)
	if !there {
		return 0
	}
	status = since(status, r.status.Conditions, time.Now())
	if equality.Semantic.DeepEqual(status, r.status) {
		return 0
	}
	a := newApplication(name)
	a.Status = &status
	body, err := json.Marshal(a)
	if err != nil || w.state.settled(body, content{status: r.status}) {
		return 0
	}
	now := time.Now()
	if wait := max(w.state.at.Add(writeEvery).Sub(now), w.allowed.wait(now)); wait > 0 {
		return wait
	}
	w.allowed.spent++
	result, err := w.source.client.apply(ctx, name, "status", body)
	w.state = written{body: body, at: now, failed: err != nil, result: content{status: result.Status}}
	w.logStatus(ctx, err)
	return writeEvery
}

// logStatus logs a failure to write the status when it is another than before. It is
// no Problem: it harms no traffic.
func (w *writer) logStatus(ctx context.Context, err error) {
	why := ""
	if err != nil && !apierrors.IsNotFound(err) { // not found: the record has just gone, and will be back
		why = explain(w.source.client.Server, v1alpha1.Resource, err)
	}
	if ctx.Err() == nil && why != w.untold {
		if w.untold = why; why != "" {
			w.source.log.Warn("the status of this node's record is not written", "error", why)
		}
	}
}
