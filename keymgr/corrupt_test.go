package keymgr_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
)

// noSecret fails if an error shows a part of the key.
func noSecret(t *testing.T, err error, key wgkey.PrivateKey) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range []string{key.RevealBase64()[:8], key.RevealBase64()[20:28], key.RevealHex()[:8]} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("an error shows %q of the key: %v", secret, err)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	store, dir, key := withKey(t)
	path := filepath.Join(dir, "private.key")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sound {
		for bit := range 8 {
			damaged := bytes.Clone(sound)
			damaged[i] ^= 1 << bit
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := store.Load()
			if corrupt := (*keymgr.CorruptError)(nil); !errors.As(err, &corrupt) || corrupt.Path != path {
				t.Errorf("byte %d, bit %d flipped: %v", i, bit, err)
			}
			noSecret(t, err, key)
		}
	}
}

func TestCorruptKeyIsSetAside(t *testing.T) {
	store, dir, key := withKey(t)
	path := filepath.Join(dir, "private.key")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(sound, []byte("\n"))
	tests := []struct {
		name, content, want string
	}{
		{"empty", "", "it is empty"},
		{"cut off", string(sound[:60]), "its checksum does not match"},
		{"key alone", string(line) + "\n", "its checksum line is missing"},
		{"two keys", string(line) + "\n" + string(sound), "its checksum does not match"},
		{"more after it", string(sound) + "\n", "its checksum does not match"},
		{"claims", "[\n]\n# wgsteer claims v1 sha256:0\n", "its checksum does not match"},
		{"zeroes", strings.Repeat("\x00", len(sound)), "its checksum line is missing"},
	}
	previous := key
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := store.Load()
			want := path + " is corrupt: " + tt.want + "; restore it from a backup, or let `wgsteer run` set it aside and start anew"
			if err == nil || err.Error() != want {
				t.Errorf("Load: %v\nwant: %s", err, want)
			}
			if _, _, err := store.Rotate(rand.Reader); !errors.As(err, new(*keymgr.CorruptError)) {
				t.Errorf("Rotate: %v, want a CorruptError", err)
			}
			loaded, err := store.LoadOrCreate(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			aside := path + ".corrupt-" + string(rune('1'+i))
			if !loaded.Created || loaded.SetAside != aside || loaded.Key.Equal(previous) {
				t.Errorf("LoadOrCreate: %+v, want a new key and the old file at %s", loaded, aside)
			}
			if got, err := os.ReadFile(aside); err != nil || string(got) != tt.content {
				t.Errorf("set aside: %q, %v; want %q", got, err, tt.content)
			}
			if !mustLoad(t, store).Equal(loaded.Key) {
				t.Error("Load returns another key than LoadOrCreate")
			}
			previous = loaded.Key
		})
	}
	if aside, _ := filepath.Glob(path + ".corrupt-*"); len(aside) != len(tests) {
		t.Errorf("set aside: %v, want %d files", aside, len(tests))
	}
}

func TestClaimsSurviveRestart(t *testing.T) {
	store, dir := newStore(t)
	if claims, aside, err := store.LoadClaims(); err != nil || aside != "" || len(claims.Nodes) != 0 {
		t.Fatalf("LoadClaims before there are any: %+v, %q, %v", claims, aside, err)
	}
	full := n("b", "kB", "e2001:db8::2", "10.244.2.0/24", "fd00::/64", "192.0.2.2", "2001:db8::2")
	full.PersistentKeepalive = 25e9
	claims := keymgr.ClaimsOf([]keymgr.Node{full, n("a", "kA")})
	path := filepath.Join(dir, "claims.yaml")
	var first os.FileInfo
	for range 2 {
		if err := store.SaveClaims(claims); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Fatalf("mode %v, %v", info.Mode(), err)
		}
		if first != nil && (!os.SameFile(first, info) || first.ModTime() != info.ModTime()) {
			t.Error("the same claims were written again")
		}
		first = info
	}
	got, aside, err := store.LoadClaims()
	if diff := cmp.Diff(claims, got, netipValues); diff != "" || aside != "" || err != nil {
		t.Errorf("%q, %v; claims (-saved +loaded):\n%s", aside, err, diff)
	}
}

func TestCorruptClaimsAreSetAside(t *testing.T) {
	store, dir := newStore(t)
	path := filepath.Join(dir, "claims.yaml")
	if err := store.SaveClaims(keymgr.ClaimsOf([]keymgr.Node{n("a", "kA", "10.244.1.0/24", "e192.0.2.1")})); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sound {
		damaged := bytes.Clone(sound)
		damaged[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		claims, aside, err := store.LoadClaims()
		if err != nil || len(claims.Nodes) != 0 || !strings.HasPrefix(aside, path+".corrupt-") {
			t.Fatalf("byte %d flipped: %+v, %q, %v", i, claims, aside, err)
		}
		if got, err := os.ReadFile(aside); err != nil || !bytes.Equal(got, damaged) {
			t.Errorf("byte %d flipped: set aside %q, %v", i, got, err)
		}
		if err := os.Remove(aside); err != nil {
			t.Fatal(err)
		}
		if claims, aside, err := store.LoadClaims(); err != nil || aside != "" || len(claims.Nodes) != 0 {
			t.Errorf("byte %d flipped, the second time: %+v, %q, %v", i, claims, aside, err)
		}
	}
}
