package dataplane

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/file"
)

// TestPodsAloneAreWrittenLater: each step is what is programmed at a moment, and what
// claims.yaml has after it.
func TestPodsAloneAreWrittenLater(t *testing.T) {
	b := func(cidrs ...string) keymgr.Node { n := nodeB(t); n.PodCIDRs = pfx(cidrs...); return n }
	moved := func(n keymgr.Node) keymgr.Node { n.NodeIPs = ips("192.0.2.77"); return n }
	other := func(n keymgr.Node) keymgr.Node { n.Name, n.PublicKey = "node-c", key(t, "c").Public(); return n }
	one, two, three := b("10.244.2.1/32"), b("10.244.2.1/32", "10.244.2.2/32"), b("10.244.2.3/32")
	type step struct {
		at   time.Duration
		now  []keymgr.Node
		file []keymgr.Node
	}
	for name, steps := range map[string][]step{
		"the first at once": {{0, nodes(one), nodes(one)}},
		"the newest, when it is time": {{0, nodes(one), nodes(one)}, {1, nodes(two), nodes(one)}, {9, nodes(three), nodes(one)},
			{10, nodes(three), nodes(three)}, {19, nodes(one), nodes(three)}, {20, nodes(one), nodes(one)}},
		"at once after a rest":         {{0, nodes(one), nodes(one)}, {11, nodes(two), nodes(two)}},
		"what changed back is not new": {{0, nodes(one), nodes(one)}, {8, nodes(two), nodes(one)}, {9, nodes(one), nodes(one)}, {11, nodes(two), nodes(two)}},
		"a node's address at once":     {{0, nodes(one), nodes(one)}, {1, nodes(moved(two)), nodes(moved(two))}},
		"a node more at once":          {{0, nodes(one), nodes(one)}, {1, nodes(two), nodes(one)}, {2, nodes(two, other(three)), nodes(two, other(three))}},
		"a node less at once":          {{0, nodes(one, other(three)), nodes(one, other(three))}, {1, nodes(two), nodes(two)}},
		"the clock was set back":       {{100, nodes(one), nodes(one)}, {0, nodes(two), nodes(two)}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Unix(1e9, 0)
			clock := start
			r := remembering(t, func() time.Time { return clock })
			for i, s := range steps {
				clock = start.Add(s.at * time.Second)
				if err := r.remember(s.now, s.now); err != nil {
					t.Fatal(err)
				}
				if !sameNodes(r.known.Nodes, s.now) {
					t.Errorf("step %d: known %+v, want %+v", i, r.known.Nodes, s.now)
				}
				if got := onDisk(t, r); !sameNodes(got, s.file) {
					t.Errorf("step %d: the file has %+v, want %+v", i, got, s.file)
				}
			}
			last := steps[len(steps)-1].now
			if err := r.settle(); err != nil || !sameNodes(onDisk(t, r), last) {
				t.Errorf("settled: %+v, %v", onDisk(t, r), err)
			}
			if r.ledger.due(clock) != nil {
				t.Error("something is owed still")
			}
		})
	}
}

// TestClaimsThatCannotBeWritten: what could not be written is told, and due again after a rest.
func TestClaimsThatCannotBeWritten(t *testing.T) {
	clock := time.Unix(1e9, 0)
	r := remembering(t, func() time.Time { return clock })
	one := nodeB(t)
	if err := os.WriteFile(r.config.StateDir, nil, 0o600); err != nil { // where a directory should be
		t.Fatal(err)
	}
	if err := r.remember(nodes(one), nodes(one)); err == nil || r.view.failing["claims"] == "" {
		t.Fatalf("got %v, failing %v", err, r.view.failing)
	}
	if rest := r.ledger.rest(clock); r.ledger.owed == nil || rest != claimsRest {
		t.Errorf("owed %v, with %v time", r.ledger.owed, rest)
	}
	if err := os.Remove(r.config.StateDir); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(claimsRest)
	if err := r.settle(); err != nil || r.view.failing["claims"] != "" || !sameNodes(onDisk(t, r), nodes(one)) {
		t.Errorf("got %v, failing %v, the file has %+v", err, r.view.failing, onDisk(t, r))
	}
}

// remembering is a reconciler for remember alone.
func remembering(t *testing.T, now func() time.Time) *reconciler {
	t.Helper()
	d, err := New(Config{Node: "node-a", ClusterCIDRs: pfx("10.244.0.0/16"), Source: file.New(file.Options{}),
		StateDir: filepath.Join(t.TempDir(), "state"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return newReconciler(d, d.view.Load().config)
}

func nodes(all ...keymgr.Node) []keymgr.Node { return all }

func onDisk(t *testing.T, r *reconciler) []keymgr.Node {
	t.Helper()
	claims, err := r.store.PeekClaims()
	if err != nil {
		t.Fatal(err)
	}
	return claims.Nodes
}

func sameNodes(a, b []keymgr.Node) bool { return slices.EqualFunc(a, b, keymgr.Node.Equal) }
