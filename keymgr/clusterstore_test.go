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
		got, err := store.LoadCluster()
		if diff := cmp.Diff(want, got, same); err != nil || diff != "" {
			t.Errorf("%v, remembered (-want +got):\n%s", err, diff)
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
		_, err := store.LoadCluster()
		if corrupt := (*keymgr.CorruptError)(nil); !errors.As(err, &corrupt) || corrupt.Path != path {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
	if err := store.SaveCluster(found); err != nil { // over the damaged one
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
