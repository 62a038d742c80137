package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

const (
	// fieldManager owns what server-side apply writes.
	fieldManager = "wgsteer"
	// writeEvery is how often the same is written at most: another host with this
	// node's name does so too. Failures are tried again as often.
	writeEvery = 5 * time.Second
	// changeEvery is that for something new.
	changeEvery = 500 * time.Millisecond
)

// writer keeps this node's record as it should be. It does no more than compare
// while all is well. One goroutine runs it.
type writer struct {
	source  *Source
	cluster *cluster
	record  written
	state   written // of the status
	allowed allowance
	untold  string // why the status is not written, as last logged
}

// written is the last write of something.
type written struct {
	body   []byte
	result content // what was there then
	at     time.Time
	failed bool
}

// wait is how long body may not be written yet.
func (w *written) wait(body []byte, now time.Time) time.Duration {
	every := changeEvery
	if bytes.Equal(body, w.body) {
		every = writeEvery
	}
	return max(0, w.at.Add(every).Sub(now))
}

func (w *writer) run(ctx context.Context) {
	for {
		timer := time.NewTimer(time.Hour)
		if again := w.look(ctx); again > 0 {
			timer.Reset(again)
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-w.source.write:
		}
		timer.Stop()
	}
}

// look writes what has to be, and says when to look again though nothing happens;
// 0: never.
func (w *writer) look(ctx context.Context) time.Duration {
	want, status, ok := w.source.wanted()
	if !ok || want == nil || !w.cluster.nodes.filled() || !w.cluster.records.filled() {
		return 0
	}
	node, there := w.cluster.nodes.get(want.Name)
	if !there {
		w.source.setUnable("") // memory.snapshot tells
		return 0
	}
	again := w.apply(ctx, *want, node.uid)
	if status != nil && again == 0 {
		again = w.applyStatus(ctx, want.Name, *status)
	}
	return again
}

// wanted is what should be there. While the objects are not followed it is unknown
// what is: then ok is false.
func (s *Source) wanted() (want *keymgr.Node, status *v1alpha1.WireGuardNodeStatus, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, nodes := s.failing[nodesResource]
	_, records := s.failing[v1alpha1.Resource]
	return s.want, s.status, !nodes && !records
}

// apply writes the record if it is another.
func (w *writer) apply(ctx context.Context, n keymgr.Node, uid types.UID) time.Duration {
	r, there := w.cluster.records.get(n.Name)
	if there && r.says(n, uid) {
		w.source.setUnable("")
		return 0
	}
	body, err := json.Marshal(applicationOf(n, uid, r.spec.PersistentKeepalive))
	if err != nil {
		w.source.setUnable(err.Error()) // no node has such a record
		return 0
	}
	if there && w.record.settled(body, content{spec: r.spec, owners: r.owners}) {
		return 0
	}
	if wait := w.record.wait(body, time.Now()); wait > 0 {
		return wait
	}
	result, err := w.source.client.apply(ctx, n.Name, "", body)
	w.record = written{body: body, at: time.Now(), failed: err != nil, result: content{spec: result.Spec, owners: result.OwnerReferences}}
	if err != nil {
		if ctx.Err() == nil {
			w.source.setUnable(fmt.Sprintf("this node's record is not written: %s", explain(w.source.client.Server, v1alpha1.Resource, err)))
		}
		return writeEvery
	}
	w.source.log.Info("wrote this node's record", "record", recordName(n.Name))
	w.source.setUnable("")
	return changeEvery // what is there now may not be seen yet
}

// apply is server-side apply of a record, or of a part of it.
func (c *Client) apply(ctx context.Context, name, part string, body []byte) (*v1alpha1.WireGuardNode, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	var result v1alpha1.WireGuardNode
	request := c.records.Patch(types.ApplyPatchType).Resource(v1alpha1.Resource).Name(name)
	if part != "" {
		request = request.SubResource(part)
	}
	err := request.Param("fieldManager", fieldManager).Param("force", "true").Body(body).Do(ctx).Into(&result)
	return &result, err
}

func (s *Source) setUnable(why string) {
	s.mu.Lock()
	changed := s.unable != why
	s.unable = why
	s.mu.Unlock()
	if changed {
		poke(s.wake)
	}
}
