package kube

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
)

const (
	// cacheName is the name of the file of the state directory, without extension.
	cacheName = "kubernetes"
	// keepEvery is how often that is written at most.
	keepEvery = 10 * time.Second
)

// recall reads what was kept. What is wrong with that is told as long as r runs.
func (r *reader) recall() {
	if r.source.cache == nil {
		return
	}
	past, setAside, err := r.source.load()
	switch {
	case err != nil:
		r.tell("what was known of the cluster before cannot be read: %v", err)
	case setAside != "":
		r.tell("what was known of the cluster before is damaged, and was set aside as %s; it may be removed", setAside)
	}
	r.past = past
	if past.Local != nil {
		r.memory.local = past.Local
	}
	r.memory.had = holders(past, r.source.self)
}

func (s *Source) load() (past keymgr.Snapshot, setAside string, err error) {
	if s.look {
		past, err = s.cache.PeekSnapshot(cacheName)
		return past, "", err
	}
	return s.cache.LoadSnapshot(cacheName)
}

// holders says whose pods the single addresses in a snapshot were.
func holders(s keymgr.Snapshot, self string) map[netip.Addr]string {
	had := make(map[netip.Addr]string)
	note := func(node string, prefixes []netip.Prefix) {
		for _, p := range prefixes {
			if p.IsSingleIP() {
				had[p.Addr()] = node
			}
		}
	}
	for _, n := range s.Nodes {
		note(n.Name, n.PodCIDRs)
	}
	if s.Local != nil {
		note(self, s.Local.PodCIDRs)
	}
	return had
}

func (r *reader) tell(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.source.log.Warn(text)
	r.notes = append(r.notes, keymgr.Problem{Node: r.source.self, Record: cacheName + ".json", Warning: true, Message: text})
}

// remember hands a snapshot that is whole to the keeper.
func (r *reader) remember(s keymgr.Snapshot) {
	if r.source.cache == nil || r.source.look || s.Partial {
		return
	}
	s = s.Clone()
	select {
	case <-r.keep: // an older one that waits
	default:
	}
	r.keep <- s
}

// keeper writes the newest snapshot to disk, now and then and at the end.
func (r *reader) keeper(ctx context.Context) {
	save := func(s keymgr.Snapshot) {
		if err := r.source.cache.SaveSnapshot(cacheName, s); err != nil {
			r.source.log.Warn("keep what is known of the cluster for a start without it", "error", err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			select {
			case s := <-r.keep:
				save(s)
			default:
			}
			return
		case s := <-r.keep:
			save(s)
		}
		select {
		case <-ctx.Done():
		case <-time.After(keepEvery):
		}
	}
}
