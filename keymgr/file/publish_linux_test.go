package file_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/file"
)

func TestPublishWritesOnce(t *testing.T) {
	dir := t.TempDir() + "/deep/nodes"
	path := dir + "/a.yaml"
	old := syscall.Umask(0o077)
	publish(t, dir, node("a", 1))
	syscall.Umask(old)
	first, err := os.Lstat(path)
	must(t, err)
	if first.Mode() != 0o644 {
		t.Errorf("mode %v, want 0644 whatever the umask", first.Mode())
	}
	publish(t, dir, node("a", 1))
	if again, err := os.Lstat(path); err != nil || !os.SameFile(first, again) || again.ModTime() != first.ModTime() {
		t.Errorf("the same record was written again: %v", err)
	}
	publish(t, dir, node("a", 2))
	if changed, err := os.Lstat(path); err != nil || os.SameFile(first, changed) {
		t.Errorf("the changed record did not replace the file: %v", err)
	}
	must(t, os.Chmod(path, 0o600))
	publish(t, dir, node("a", 2))
	if mended, err := os.Lstat(path); err != nil || mended.Mode() != 0o644 {
		t.Errorf("a record that others cannot read stayed so: %v, %v", mended.Mode(), err)
	}
}

func TestPublishReplacesALink(t *testing.T) {
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
	put(t, target, "precious")
	must(t, os.Symlink(target, dir+"/a.yaml"))
	publish(t, dir, node("a", 1))
	if got, err := os.ReadFile(target); err != nil || string(got) != "precious" {
		t.Errorf("the link's target reads %q, %v", got, err)
	}
	if info, err := os.Lstat(dir + "/a.yaml"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link is still there: %v, %v", info.Mode(), err)
	}
}

func TestPublishRefuses(t *testing.T) {
	dir := t.TempDir()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	put(t, dir+"/file", "")
	put(t, dir+"/twice.yml", "")
	bad := node("a", 1)
	bad.PodCIDRs = nil
	bad.NodeIPs = append(bad.NodeIPs, bad.NodeIPs[0])
	tests := []struct {
		name string
		ctx  context.Context
		dir  string
		self string
		node keymgr.Node
		want string
	}{
		{"ended context", ended, dir, "a", node("a", 1), "context canceled"},
		{"another node's record", t.Context(), dir, "a", node("b", 1), `publish the record of node "b": this source writes that of "a" only`},
		{"a record that others refuse", t.Context(), dir, "a", bad, `publish the record of node "a": nodeIPs[1]: "192.0.2.1" occurs twice`},
		{"a way out of the directory", t.Context(), dir, "../a", node("../a", 1), `publish the record of node "../a": name: "../a": a node's name begins with a letter or a digit`},
		{"a second record", t.Context(), dir, "twice", node("twice", 1), "publish this node's record: " + dir + "/twice.yml would be a second record of this node; remove it"},
		{"a directory that is a file", t.Context(), dir + "/file", "a", node("a", 1), "publish this node's record: create the directory of node records: mkdir " + dir + "/file: not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := file.New(file.Options{Dir: tt.dir, Self: tt.self}).Publish(tt.ctx, tt.node)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestPublishReadOnly has a directory that only this thread sees read-only.
func TestPublishReadOnly(t *testing.T) {
	privtest.Root(t)
	dir := t.TempDir()
	publish(t, dir, node("a", 1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends here, and the mount with it
		err := errors.Join(
			unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(dir, dir, "", unix.MS_BIND, ""),
			unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
		if err != nil {
			t.Errorf("mount a directory read-only: %v", err)
			return
		}
		s := file.New(file.Options{Dir: dir, Self: "a"})
		if err := s.Publish(t.Context(), node("a", 1)); err != nil {
			t.Errorf("publish what is there already: %v", err)
		}
		if err := s.Publish(t.Context(), node("a", 2)); !errors.Is(err, unix.EROFS) {
			t.Errorf("publish a change: %v, want EROFS", err)
		}
	}()
	<-done
}

// TestPublishWhileTheDirectoryIsLost: what Run could not list gets no record, and
// no directory in its place.
func TestPublishWhileTheDirectoryIsLost(t *testing.T) {
	dir := t.TempDir() + "/nodes"
	ctx, cancel := context.WithCancel(t.Context())
	s := file.New(file.Options{Dir: dir, Self: "a", Reread: 20 * time.Millisecond})
	snapshots := make(chan keymgr.Snapshot, 1000)
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.Run(ctx, func(s keymgr.Snapshot) { snapshots <- s }); err != nil {
			t.Error(err)
		}
	})
	await(t, snapshots, "the missing directory", func(s keymgr.Snapshot) bool { return s.Partial })
	if err := s.Publish(ctx, node("a", 1)); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("published: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory took the lost one's place: %v", err)
	}
	must(t, os.Mkdir(dir, 0o755))
	await(t, snapshots, "the directory", func(s keymgr.Snapshot) bool { return !s.Partial })
	if err := s.Publish(ctx, node("a", 1)); err != nil {
		t.Errorf("publish again: %v", err)
	}
	awaitNames(t, snapshots, "a")
	cancel()
	group.Wait()
}

// TestPublishBesideRun has many changes of one's own record while others come
// and go; the last state has to win.
func TestPublishBesideRun(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := file.New(file.Options{Dir: dir, Self: "a", Reread: never})
	snapshots := make(chan keymgr.Snapshot, 1000)
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.Run(ctx, func(s keymgr.Snapshot) { snapshots <- s }); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		for i := range byte(50) {
			publish(t, dir, node("b", i+100))
			must(t, os.Remove(dir+"/b.yaml"))
		}
	})
	for i := range byte(50) {
		must(t, s.Publish(ctx, node("a", i+1)))
	}
	await(t, snapshots, "the last record", func(s keymgr.Snapshot) bool {
		return len(s.Nodes) == 1 && s.Nodes[0].Equal(node("a", 50))
	})
	cancel()
	group.Wait()
}
