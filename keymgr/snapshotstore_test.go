package keymgr_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/wgsteer/wgsteer/keymgr"
)

func TestSnapshotIsRemembered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	store := keymgr.NewStore(dir)
	expect := func(want keymgr.Snapshot, wantAside string) {
		t.Helper()
		got, aside, err := store.LoadSnapshot("cluster-x")
		if err != nil || !got.Equal(want) || aside != wantAside {
			t.Errorf("%+v, set aside %q, %v; want %+v, %q", got, aside, err, want, wantAside)
		}
	}
	expect(keymgr.Snapshot{}, "")
	s := keymgr.Snapshot{
		Nodes: []keymgr.Node{{Name: "b", NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, Record: "wireguardnodes/b",
			PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24")}, Endpoint: netip.MustParseAddrPort("192.0.2.2:51871")}},
		Unusable: []string{"c"},
		Local:    &keymgr.Local{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}},
	}
	s.Nodes[0].PublicKey[0] = 7
	if err := store.SaveSnapshot("cluster-x", s); err != nil {
		t.Fatal(err)
	}
	expect(s, "")
	if got, err := store.PeekSnapshot("cluster-x"); err != nil || !got.Equal(s) {
		t.Errorf("a look: %+v, %v", got, err)
	}
	path := filepath.Join(dir, "cluster-x.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt *keymgr.CorruptError
	if got, err := store.PeekSnapshot("cluster-x"); !errors.As(err, &corrupt) || !got.Equal(keymgr.Snapshot{}) {
		t.Errorf("a look at the damaged file: %+v, %v", got, err)
	}
	expect(keymgr.Snapshot{}, path+".corrupt-1")
	expect(keymgr.Snapshot{}, "")
}
