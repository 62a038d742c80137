package file

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watch tells that something in a directory has changed. It survives that the
// directory is replaced by another one of the same name, and does without the
// system's help where that is refused.
type watch struct {
	dir     string
	watcher *fsnotify.Watcher // nil until ensure has got one
	watched fs.FileInfo       // the directory that watcher looks at; nil if none
}

func newWatch(dir string) *watch { return &watch{dir: dir} }

// ensure makes the watch look at the directory that is there now.
func (w *watch) ensure() error {
	if w.watcher == nil {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			return fmt.Errorf("changes are looked for every second, as the system cannot tell of them: %w; raise fs.inotify.max_user_instances with sysctl", err)
		}
		w.watcher = watcher
	}
	info, err := os.Stat(w.dir)
	// A directory removed and made again may have its old inode number; the
	// watch went with the old one.
	if err == nil && w.watched != nil && os.SameFile(info, w.watched) && len(w.watcher.WatchList()) > 0 {
		return nil
	}
	if w.watched != nil {
		_ = w.watcher.Remove(w.dir) // fails if the directory went and took the watch along
		w.watched = nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", w.dir, err)
	}
	if err := w.watcher.Add(w.dir); err != nil {
		return fmt.Errorf("changes are looked for every second, as the system cannot tell of them: %w; raise fs.inotify.max_user_watches with sysctl", err)
	}
	w.watched = info
	return nil
}

// events is nil, which blocks, while there is no watcher.
func (w *watch) events() <-chan fsnotify.Event {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Events
}

// errors tells of lost events; it is nil, which blocks, while there is no
// watcher.
func (w *watch) errors() <-chan error {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Errors
}

// drain swallows what happens within d, and returns false if ctx ends
// meanwhile. It does not wait longer while more happens, so a directory that
// never rests is still read.
func (w *watch) drain(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return ctx.Err() == nil
		case <-w.events():
		case <-w.errors():
		}
	}
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close() // nothing was written; there is nothing to lose
	}
}
