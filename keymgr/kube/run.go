package kube

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/wgsteer/wgsteer/keymgr"
)

const (
	// firstWithin is how long the API server may take to tell everything before what
	// is on disk is delivered.
	firstWithin = 2 * time.Second
	// quiet is how long nothing may change before a snapshot is made, and settle how
	// long it waits for that.
	quiet, settle = 75 * time.Millisecond, 500 * time.Millisecond
)

// Run implements keymgr.Source. An API server that does not answer, or refuses, is a
// Problem, not an error: it is asked again all the time.
func (s *Source) Run(ctx context.Context, deliver func(keymgr.Snapshot)) error {
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, s.clientLogger()))
	defer cancel()
	c := newCluster(s.self, s.from, func() { poke(s.wake); poke(s.write) })
	s.enter(c)
	defer s.enter(nil)
	r := &reader{source: s, cluster: c, keep: make(chan keymgr.Snapshot, 1)}
	r.recall()
	s.follow(ctx, c, &group)
	group.Go(func() { (&writer{source: s, cluster: c}).run(ctx) })
	group.Go(func() { r.keeper(ctx) })
	late := time.NewTimer(firstWithin)
	defer late.Stop()
	for {
		if now, ok := r.look(); ok && (r.last == nil || !now.Equal(*r.last)) {
			r.last = new(now.Clone())
			s.log.Debug("node records changed", "server", s.client.Server, "nodes", len(now.Nodes), "problems", len(now.Problems))
			r.remember(now)
			deliver(now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-late.C:
			r.late = true
			continue
		case <-s.wake:
		}
		if !calm(ctx, s.wake) {
			return nil
		}
	}
}

// calm waits until no more happens, and returns false if ctx ends.
func calm(ctx context.Context, wake <-chan struct{}) bool {
	last := time.NewTimer(settle)
	defer last.Stop()
	for {
		still := time.NewTimer(quiet)
		select {
		case <-ctx.Done():
			return false
		case <-last.C:
			return ctx.Err() == nil
		case <-still.C:
			return ctx.Err() == nil
		case <-wake:
		}
		still.Stop()
	}
}

func (s *Source) enter(c *cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = c
	clear(s.failing)
	s.unable = ""
}

// reader makes the snapshots of one Run.
type reader struct {
	source  *Source
	cluster *cluster
	memory  memory
	late    bool             // it took too long
	past    keymgr.Snapshot  // what is on disk
	notes   []keymgr.Problem // about that
	last    *keymgr.Snapshot // as delivered
	keep    chan keymgr.Snapshot
}

// look returns the snapshot of now, and false while it may still come from the API
// server in time.
func (r *reader) look() (keymgr.Snapshot, bool) {
	failing, unable := r.source.troubles()
	f, failed := first(failing)
	var s keymgr.Snapshot
	switch {
	case r.cluster.filled():
		s = r.memory.snapshot(r.view())
	case failed || r.late:
		s = r.past.Clone()
		if !failed {
			f.message = fmt.Sprintf("API server %s has not told everything yet", r.source.client.Server)
		}
		failed = true
	default:
		return s, false
	}
	if failed {
		s.Partial = true
		s.Problems = append(s.Problems, keymgr.Problem{Record: r.source.client.Server, Message: f.message})
	} else if unable != "" {
		s.Problems = append(s.Problems, keymgr.Problem{Node: r.source.self, Record: recordName(r.source.self), Message: unable})
	}
	s.Problems = append(s.Problems, r.notes...)
	return s, true
}

func (r *reader) view() view {
	v := view{self: r.source.self, from: r.source.from, nodes: r.cluster.nodes.all(), records: r.cluster.records.all()}
	if r.cluster.pods != nil {
		v.pods = r.cluster.pods.all()
	}
	return v
}

func (s *Source) troubles() (map[string]failure, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.failing), s.unable
}
