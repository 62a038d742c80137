package keymgr_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
)

// onSmallDisk calls f on a thread that alone sees a tmpfs of 64 kB at dir. It
// goes with the thread, also if the test is killed.
func onSmallDisk(t *testing.T, f func(t *testing.T, dir string)) {
	privtest.Root(t)
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			t.Errorf("unshare the mount namespace: %v", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Errorf("make mounts private: %v", err)
			return
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
			t.Errorf("mount a small tmpfs: %v", err)
			return
		}
		f(t, dir)
	}()
	<-done
}

// fillUp takes all space of dir's file system.
func fillUp(t *testing.T, dir string) {
	path := filepath.Join(dir, "filler")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("filling the disk: %v, want ENOSPC", err)
	}
}

func TestFullDisk(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, disk string) {
		dir := filepath.Join(disk, "state")
		store := keymgr.NewStore(dir)
		loaded, err := store.LoadOrCreate(rand.Reader)
		if err != nil {
			t.Error(err)
			return
		}
		claims := keymgr.ClaimsOf([]keymgr.Node{n("a", "kA")})
		if err := store.SaveClaims(claims); err != nil {
			t.Error(err)
		}
		fillUp(t, disk)
		before := listing(t, dir)
		_, _, err = store.Rotate(rand.Reader)
		wantNoSpace(t, "Rotate", err, loaded.Key)
		err = store.SaveClaims(keymgr.ClaimsOf([]keymgr.Node{n("b", "kB")}))
		wantNoSpace(t, "SaveClaims", err, loaded.Key)
		unchangedBut(t, dir, before)
		if again, err := store.LoadOrCreate(rand.Reader); err != nil || again.Created || !again.Key.Equal(loaded.Key) {
			t.Errorf("LoadOrCreate on a full disk: %+v, %v", again, err)
		}
		if got, _, err := store.LoadClaims(); err != nil || len(got.Nodes) != 1 || got.Nodes[0].Name != "a" {
			t.Errorf("LoadClaims on a full disk: %+v, %v", got, err)
		}

		// A corrupt key stays where it is as long as there is no room for another.
		path := filepath.Join(dir, "private.key")
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("!"), 3)
			f.Close()
		}
		if err != nil {
			t.Error(err)
		}
		_, err = store.LoadOrCreate(rand.Reader)
		wantNoSpace(t, "LoadOrCreate", err, loaded.Key)
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the corrupt key moved although none replaces it: %v", err)
		}
		if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
			t.Error(err)
		}
		if again, err := store.LoadOrCreate(rand.Reader); err != nil || again.SetAside != path+".corrupt-1" {
			t.Errorf("LoadOrCreate with room again: %+v, %v", again, err)
		}
	})
}

func TestReadOnlyDisk(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, disk string) {
		store := keymgr.NewStore(filepath.Join(disk, "state"))
		loaded, err := store.LoadOrCreate(rand.Reader)
		if err != nil {
			t.Error(err)
			return
		}
		if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Error(err)
			return
		}
		if again, err := store.LoadOrCreate(rand.Reader); err != nil || !again.Key.Equal(loaded.Key) {
			t.Errorf("LoadOrCreate: %+v, %v; want the key that is there", again, err)
		}
		if _, _, err := store.Rotate(rand.Reader); !errors.Is(err, unix.EROFS) {
			t.Errorf("Rotate: %v, want EROFS", err)
		}
		if _, err := keymgr.NewStore(filepath.Join(disk, "other")).LoadOrCreate(rand.Reader); !errors.Is(err, unix.EROFS) {
			t.Errorf("LoadOrCreate of a new directory: %v, want EROFS", err)
		}
	})
}

func wantNoSpace(t *testing.T, verb string, err error, key wgkey.PrivateKey) {
	t.Helper()
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%s on a full disk: %v, want ENOSPC", verb, err)
	}
	noSecret(t, err, key)
}

func unchangedBut(t *testing.T, dir, before string) {
	t.Helper()
	if after := listing(t, dir); stripDirTime(after) != stripDirTime(before) {
		t.Errorf("something changed: before\n%safter\n%s", before, after)
	}
}

// stripDirTime drops the first line, the directory's own: creating and removing
// a file in it changes its time.
func stripDirTime(s string) string {
	_, rest, _ := bytes.Cut([]byte(s), []byte("\n"))
	return string(rest)
}
