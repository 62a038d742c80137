package keymgr_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
)

// TestUnsafeStateIsRefused spoils a sound state directory in many ways. Each
// must be refused by everything that reads or writes, with the way to mend it,
// and must leave the key as it is.
func TestUnsafeStateIsRefused(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string // DIR stands for the directory
	}{
		{"key readable by a group", func(t *testing.T, dir string) { must(t, os.Chmod(dir+"/private.key", 0o640)) },
			"DIR/private.key is open to other users (mode 0640); run: chmod 600 DIR/private.key"},
		{"key writable by all", func(t *testing.T, dir string) { must(t, os.Chmod(dir+"/private.key", 0o602)) },
			"DIR/private.key is open to other users (mode 0602); run: chmod 600 DIR/private.key"},
		{"directory listable", func(t *testing.T, dir string) { must(t, os.Chmod(dir, 0o755)) },
			"state directory DIR is open to other users (mode 0755); run: chmod 700 DIR"},
		{"key of someone else", func(t *testing.T, dir string) { privtest.Root(t); must(t, os.Chown(dir+"/private.key", 65534, -1)) },
			"DIR/private.key belongs to user 65534, and wgsteer runs as user 0; run: chown 0 DIR/private.key"},
		{"directory of someone else", func(t *testing.T, dir string) { privtest.Root(t); must(t, os.Chown(dir, 65534, -1)) },
			"state directory DIR belongs to user 65534, and wgsteer runs as user 0; run: chown 0 DIR"},
		{"key is a link", func(t *testing.T, dir string) {
			must(t, os.Rename(dir+"/private.key", dir+"/elsewhere"))
			must(t, os.Symlink("elsewhere", dir+"/private.key"))
		}, "DIR/private.key is a symbolic link, and those are not followed; replace it with the file it points to"},
		{"key is a dangling link", func(t *testing.T, dir string) {
			must(t, os.Remove(dir+"/private.key"))
			must(t, os.Symlink("/nonexistent/wgsteer", dir+"/private.key"))
		}, "DIR/private.key is a symbolic link, and those are not followed; replace it with the file it points to"},
		{"key is a pipe", func(t *testing.T, dir string) {
			must(t, os.Remove(dir+"/private.key"))
			must(t, unix.Mkfifo(dir+"/private.key", 0o600))
		}, "DIR/private.key is not a regular file; move it away"},
		{"key is a directory", func(t *testing.T, dir string) {
			must(t, os.Remove(dir+"/private.key"))
			must(t, os.Mkdir(dir+"/private.key", 0o700))
		}, "DIR/private.key is not a regular file; move it away"},
		{"key is huge", func(t *testing.T, dir string) { must(t, os.Truncate(dir+"/private.key", 1<<40)) },
			"DIR/private.key has 1099511627776 bytes, more than wgsteer ever writes there; move it away"},
		{"directory is a link", func(t *testing.T, dir string) {
			must(t, os.Rename(dir, dir+"-elsewhere"))
			must(t, os.Symlink(dir+"-elsewhere", dir))
		}, "state directory DIR is a symbolic link, and those are not followed; configure the directory it points to"},
		{"directory is a file", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
			must(t, os.WriteFile(dir, nil, 0o600))
		}, "state directory DIR is not a directory; move it away or configure another"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store, dir, key := withKey(t)
			tt.spoil(t, dir)
			before := listing(t, filepath.Dir(dir))
			want := strings.ReplaceAll(tt.want, "DIR", dir)
			_, loadErr := store.Load()
			_, createErr := store.LoadOrCreate(rand.Reader)
			_, _, rotateErr := store.Rotate(rand.Reader)
			for verb, err := range map[string]error{"Load": loadErr, "LoadOrCreate": createErr, "Rotate": rotateErr} {
				if err == nil || strings.TrimPrefix(err.Error(), "rotate the private key: ") != want {
					t.Errorf("%s: %v\nwant: %s", verb, err, want)
				}
				noSecret(t, err, key)
			}
			if after := listing(t, filepath.Dir(dir)); after != before {
				t.Errorf("something changed: before\n%safter\n%s", before, after)
			}
		})
	}
}

// listing is what a tree looks like from outside, times of reading excepted.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintf(&b, "%s %v %d %v\n", path, info.Mode(), info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRotatingAtOnce is a chain: everyone's old key is another one's new key.
func TestRotatingAtOnce(t *testing.T) {
	_, dir, first := withKey(t)
	const rotations = 24
	var mu sync.Mutex
	next := make(map[wgkey.PublicKey]wgkey.PublicKey)
	var group sync.WaitGroup
	for range rotations {
		group.Go(func() {
			store := keymgr.NewStore(dir)
			if _, err := store.Load(); err != nil {
				t.Errorf("Load beside rotations: %v", err)
			}
			old, new, err := store.Rotate(rand.Reader)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			next[old.Public()] = new.Public()
		})
	}
	group.Wait()
	steps, at := 0, first.Public()
	for ; steps < rotations; steps++ {
		to, ok := next[at]
		if !ok {
			break
		}
		at = to
	}
	if steps != rotations || at != mustLoad(t, keymgr.NewStore(dir)).Public() {
		t.Errorf("%d of %d rotations form a chain from the first key", steps, rotations)
	}
}

func TestCreatingAtOnce(t *testing.T) {
	_, dir := newStore(t)
	keys := make([]keymgr.Loaded, 16)
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() {
			var err error
			if keys[i], err = keymgr.NewStore(dir).LoadOrCreate(rand.Reader); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	created := 0
	for _, k := range keys {
		if !k.Key.Equal(keys[0].Key) {
			t.Error("two callers hold different keys")
		}
		if k.Created {
			created++
		}
	}
	if created != 1 {
		t.Errorf("%d callers say that they made the key, want 1", created)
	}
}

// TestLockIsHeldAcrossProcesses holds the lock as another process would: a
// file description of its own.
func TestLockIsHeldAcrossProcesses(t *testing.T) {
	store, dir, key := withKey(t)
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, _, err := store.Rotate(rand.Reader)
		done <- err
	}()
	for !waitsForLock(t, dir) {
		select {
		case err := <-done:
			t.Fatalf("Rotate did not wait for the lock: %v", err)
		default:
			runtime.Gosched()
		}
	}
	if !mustLoad(t, store).Equal(key) {
		t.Error("the key changed while another process had the lock")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// waitsForLock looks into the kernel's list: a waiter's line has "->".
func waitsForLock(t *testing.T, dir string) bool {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "lock"), &stat); err != nil {
		t.Fatal(err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(locks)) {
		if strings.Contains(line, "->") && strings.Contains(line, fmt.Sprintf(":%d ", stat.Ino)) {
			return true
		}
	}
	return false
}
