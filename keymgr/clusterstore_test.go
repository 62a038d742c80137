package keymgr_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
)

func TestClusterIsRemembered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	store := keymgr.NewStore(dir)
	same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	expect := func(want keymgr.Cluster) {
		t.Helper()
		got, setAside, err := store.LoadCluster()
		if diff := cmp.Diff(want, got, same); err != nil || setAside != "" || diff != "" {
			t.Errorf("%v, set aside %q, remembered (-want +got):\n%s", err, setAside, diff)
		}
		if peeked, err := store.PeekCluster(); err != nil || !cmp.Equal(got, peeked, same) {
			t.Errorf("a look: %v, %v", peeked, err)
		}
	}
	expect(keymgr.Cluster{})
	found := keymgr.Cluster{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00::/48")}, From: "a test"}
	if err := store.SaveCluster(found); err != nil {
		t.Fatal(err)
	}
	expect(found)

	path := filepath.Join(dir, "cluster.json")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sound {
		damaged := bytes.Clone(sound)
		damaged[i] ^= 1
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := store.PeekCluster()
		if corrupt := (*keymgr.CorruptError)(nil); !errors.As(err, &corrupt) || corrupt.Path != path {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
	got, setAside, err := store.LoadCluster()
	if _, missing := os.Stat(setAside); err != nil || len(got.CIDRs) != 0 || setAside == path || missing != nil {
		t.Errorf("damaged: %v, set aside as %q (%v), %v", got, setAside, missing, err)
	}
	expect(keymgr.Cluster{})
	if err := store.SaveCluster(found); err != nil {
		t.Fatal(err)
	}
	expect(found)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SaveCluster(found); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("what is remembered already was written again: %v", err)
	}
}
