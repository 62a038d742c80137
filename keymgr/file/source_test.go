package file_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/file"
	"github.com/wgsteer/wgsteer/wgkey"
)

// patience bounds every wait; nothing is expected to take long.
const patience = 20 * time.Second

// node returns a sound node; n makes it differ from others.
func node(name string, n byte) keymgr.Node {
	return keymgr.Node{
		Name:      name,
		PublicKey: wgkey.PublicKey{n, 1},
		Endpoint:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 51871),
		NodeIPs:   []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, n})},
		PodCIDRs:  []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, n, 0}), 24)},
	}
}

func publish(t *testing.T, dir string, n keymgr.Node) {
	t.Helper()
	if err := file.New(file.Options{Dir: dir, Self: n.Name}).Publish(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

// follow runs a source and returns what it delivers. When the test ends, Run
// must have returned nil.
func follow(t *testing.T, o file.Options) <-chan keymgr.Snapshot {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	snapshots := make(chan keymgr.Snapshot, 1000)
	done := make(chan error, 1)
	go func() {
		done <- file.New(o).Run(ctx, func(s keymgr.Snapshot) { snapshots <- s })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return snapshots
}

// await returns the first snapshot that fits.
func await(t *testing.T, snapshots <-chan keymgr.Snapshot, what string, fits func(keymgr.Snapshot) bool) keymgr.Snapshot {
	t.Helper()
	deadline := time.After(patience)
	var last keymgr.Snapshot
	for {
		select {
		case last = <-snapshots:
			if fits(last) {
				return last
			}
		case <-deadline:
			t.Fatalf("no snapshot with %s; the last one was %+v", what, last)
		}
	}
}

func names(s keymgr.Snapshot) []string {
	list := []string{}
	for _, n := range s.Nodes {
		list = append(list, n.Name)
	}
	return list
}

// awaitNames waits for exactly these nodes.
func awaitNames(t *testing.T, snapshots <-chan keymgr.Snapshot, want ...string) keymgr.Snapshot {
	t.Helper()
	return await(t, snapshots, "other nodes", func(s keymgr.Snapshot) bool { return cmp.Equal(names(s), append([]string{}, want...)) })
}

func TestFollowsTheDirectory(t *testing.T) {
	dir := t.TempDir() + "/nodes"
	publish(t, dir, node("node-b", 2))
	got := follow(t, file.Options{Dir: dir, Self: "node-a", Reread: time.Hour})
	awaitNames(t, got, "node-b")
	publish(t, dir, node("node-a", 1))
	s := awaitNames(t, got, "node-a", "node-b")
	want := node("node-a", 1)
	want.Record = dir + "/node-a.yaml"
	if diff := cmp.Diff(want, s.Nodes[0], cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("node-a (-want +got):\n%s", diff)
	}
}
