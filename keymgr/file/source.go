package file

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
)

// Options of a Source.
type Options struct {
	// Dir holds the records. Required; the first Publish creates it.
	Dir string
	// Self is this node's name, the only one that Publish writes. Required for
	// Publish.
	Self string
	// Reread is how often the directory is read although nothing seems to have
	// changed: network file systems do not tell of other hosts' changes.
	// Default: 10 s.
	Reread time.Duration
	// Logger; default: slog.Default. Problems with records are not logged: they
	// are in the snapshots.
	Logger *slog.Logger
}

// Source is the directory. Its methods may be called from any goroutine; Run
// once at a time.
type Source struct {
	dir, self string
	reread    time.Duration
	log       *slog.Logger
	published chan struct{} // holds one element when Run should look

	mu      sync.Mutex // one Publish at a time; guards what follows
	made    bool       // the directory was there once
	partial bool       // as Run last found the records
}

var _ keymgr.Source = (*Source)(nil)

// New returns a source that has not looked at the directory yet.
func New(o Options) *Source {
	s := &Source{
		dir:       filepath.Clean(o.Dir),
		self:      o.Self,
		reread:    o.Reread,
		log:       o.Logger,
		published: make(chan struct{}, 1),
	}
	if s.reread <= 0 {
		s.reread = 10 * time.Second
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	return s
}

const (
	// settle lets a burst of changes pass before the directory is read.
	settle = 50 * time.Millisecond
	// unwatched replaces a longer Reread where changes are not told.
	unwatched = time.Second
)

// Run implements keymgr.Source. A directory that is missing, unreadable or
// cannot be watched is a Problem, not an error: it is looked for every second.
func (s *Source) Run(ctx context.Context, deliver func(keymgr.Snapshot)) error {
	w := newWatch(s.dir)
	defer w.close()
	mem := make(memory)
	var last keymgr.Snapshot
	for first := true; ; first = false {
		watchErr := w.ensure() // before reading, so that no change falls between
		now := s.read(mem)
		s.setPartial(now.Partial)
		if watchErr != nil && !now.Partial {
			now.Problems = append(now.Problems, keymgr.Problem{Record: s.dir, Warning: true, Message: watchErr.Error()})
		}
		if first || !last.Equal(now) {
			last = now.Clone()
			s.log.Debug("node records changed", "directory", s.dir, "nodes", len(now.Nodes), "problems", len(now.Problems))
			deliver(now)
		}
		if !s.wait(ctx, w, watchErr == nil) {
			return nil
		}
	}
}

func (s *Source) setPartial(partial bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial = partial
}

func (s *Source) read(mem memory) keymgr.Snapshot {
	records, err := readRecords(s.dir)
	if err != nil {
		return mem.unreadable(s.dir, err)
	}
	return mem.update(records)
}

// wait returns true when the directory should be read again, false when ctx
// has ended.
func (s *Source) wait(ctx context.Context, w *watch, watching bool) bool {
	interval := s.reread
	if !watching {
		interval = min(interval, unwatched)
	}
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	case <-s.published:
		return ctx.Err() == nil
	case <-w.events():
	case <-w.errors(): // events were lost: the directory has to be read as well
	}
	return w.drain(ctx, settle)
}
