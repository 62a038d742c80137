package keymgr_test

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
)

// newStore returns a store whose directory does not exist yet.
func newStore(t testing.TB) (*keymgr.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	return keymgr.NewStore(dir), dir
}

// withKey returns a store that has a key.
func withKey(t testing.TB) (store *keymgr.Store, dir string, key wgkey.PrivateKey) {
	t.Helper()
	store, dir = newStore(t)
	loaded, err := store.LoadOrCreate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return store, dir, loaded.Key
}

func mustLoad(t *testing.T, s *keymgr.Store) wgkey.PrivateKey {
	t.Helper()
	key, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	store, dir := newStore(t)
	if _, err := store.Load(); !errors.Is(err, keymgr.ErrNoKey) {
		t.Fatalf("Load before there is a directory: %v, want ErrNoKey", err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("Load made something: %v", err)
	}
	made, err := store.LoadOrCreate(rand.Reader)
	if err != nil || !made.Created || made.SetAside != "" || made.Key.IsZero() {
		t.Fatalf("first LoadOrCreate: %+v, %v", made, err)
	}
	again, err := keymgr.NewStore(dir + "/").LoadOrCreate(rand.Reader)
	if err != nil || again.Created || !again.Key.Equal(made.Key) {
		t.Errorf("second LoadOrCreate: %+v, %v; want the same key", again, err)
	}
	if !mustLoad(t, store).Equal(made.Key) {
		t.Error("Load returns another key")
	}
	for path, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, filepath.Join(dir, "private.key"): 0o600} {
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

func TestFirstLineIsWhatWgReads(t *testing.T) {
	wg := privtest.Tool(t, "wg")
	_, dir, key := withKey(t)
	data, err := os.ReadFile(filepath.Join(dir, "private.key"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	cmd := exec.Command(wg, "pubkey")
	cmd.Stdin = strings.NewReader(first + "\n")
	out, err := cmd.Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != key.Public().String() {
		t.Errorf("wg pubkey: %q, %v; want %s", got, err, key.Public())
	}
}

func TestRotate(t *testing.T) {
	store, _ := newStore(t)
	if _, _, err := store.Rotate(rand.Reader); !errors.Is(err, keymgr.ErrNoKey) {
		t.Fatalf("Rotate without a key: %v, want ErrNoKey", err)
	}
	store, _, key := withKey(t)
	old, new, err := store.Rotate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !old.Equal(key) || new.Equal(key) || !mustLoad(t, store).Equal(new) {
		t.Error("Rotate does not return the old key and the one that is stored now")
	}
}
