package dataplane_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
)

// telling is a source that tells of this node itself and writes its record later: it
// delivers what the test says, and keeps what is published.
type telling struct {
	snapshots chan keymgr.Snapshot

	mu        sync.Mutex // guards what follows
	published []keymgr.Node
}

func newTelling() *telling { return &telling{snapshots: make(chan keymgr.Snapshot, 16)} }

func (s *telling) Run(ctx context.Context, deliver func(keymgr.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case snapshot := <-s.snapshots:
			deliver(snapshot)
		}
	}
}

func (s *telling) Publish(_ context.Context, self keymgr.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published = append(s.published, self.Clone())
	return nil
}

// last is the record published last.
func (s *telling) last() keymgr.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.published) == 0 {
		return keymgr.Node{}
	}
	return s.published[len(s.published)-1]
}

func (s *telling) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.published)
}

func (s *telling) tell(own, peers []netip.Prefix, b keymgr.Node) {
	b.PodCIDRs = peers
	s.snapshots <- keymgr.Snapshot{Nodes: []keymgr.Node{b}, Local: &keymgr.Local{PodCIDRs: own}}
}

// TestOwnPodsFromTheSource: they come after the start, swap with a peer's whose
// session goes on, are remembered for guard and restart, and go.
func TestOwnPodsFromTheSource(t *testing.T) {
	c := config(t)
	c.PodCIDRs = nil
	b := keymgr.Node{Name: "node-b", PublicKey: publicKey(t, "b"), NodeIPs: addrs("192.0.2.102"), Endpoint: netip.MustParseAddrPort("127.0.0.1:9")}
	first, second := prefixes("10.244.1.0/24"), prefixes("10.244.2.0/24")
	// is waits for what is in use, and looks whether the programs know it.
	is := func(t *testing.T, d *dataplane.DataPlane, own, peers []netip.Prefix) {
		t.Helper()
		wait(t, d, "the pod CIDRs", func(s dataplane.Status) bool {
			return s.State == dataplane.Ready && slices.Equal(s.PodCIDRs, own) && len(s.Peers) == 1 && slices.Equal(s.Peers[0].PodCIDRs, peers) &&
				len(s.Problems) == 0
		})
		checkClasses(t, c, own, peers)
	}
	t.Run("first", func(t *testing.T) {
		source := newTelling()
		c := c
		c.Source = source
		d := run(t, c)
		source.snapshots <- keymgr.Snapshot{Partial: true, Problems: []keymgr.Problem{{Message: "no answer"}}}
		wait(t, d, "ready without an answer", ready)
		before := source.count()
		if err := d.Reload(c); err != nil { // publishes again
			t.Fatal(err)
		}
		if n := source.last(); source.count() == before || n.Name != "node-a" || n.PublicKey != d.Status().PublicKey || len(n.PodCIDRs) != 0 {
			t.Errorf("published while the snapshot is partial: %d, then %d times, last %+v", before, source.count(), n)
		}
		source.tell(first, second, b)
		is(t, d, first, second)
		wait(t, d, "the record", func(dataplane.Status) bool { return slices.Equal(source.last().PodCIDRs, first) })
		source.tell(second, first, b)
		is(t, d, second, first)
		source.tell(first, second, b)
		is(t, d, first, second)
		source.snapshots <- keymgr.Snapshot{Partial: true, Nodes: []keymgr.Node{b}} // takes nothing back
		source.tell(append(prefixes("10.9.0.0/24"), first...), second, b)
		s := wait(t, d, "the problem", func(s dataplane.Status) bool { return len(s.Problems) == 1 && s.Problems[0].Node == "node-a" })
		if !slices.Equal(s.PodCIDRs, first) {
			t.Errorf("the rest is not used: %v", s.PodCIDRs)
		}
		source.tell(first, second, b)
		is(t, d, first, second)
	})
	claims, err := keymgr.NewStore(c.StateDir).PeekClaims()
	if own, peers := claims.Apart("node-a"); err != nil || !slices.Equal(own.PodCIDRs, first) || len(peers) != 1 {
		t.Errorf("remembered: %+v, %v", claims, err)
	}
	t.Run("restart", func(t *testing.T) {
		source := newTelling()
		c := c
		c.Source = source
		d := run(t, c)
		s := wait(t, d, "the record", func(dataplane.Status) bool { return source.last().Name != "" })
		if s.Ready || !slices.Equal(s.PodCIDRs, first) || !slices.Equal(source.last().PodCIDRs, first) {
			t.Errorf("before the source tells: %s, %v, published %+v", s.State, s.PodCIDRs, source.last())
		}
		checkClasses(t, c, first, second)
		source.tell(nil, second, b)
		is(t, d, nil, second)
	})
	if claims, err := keymgr.NewStore(c.StateDir).PeekClaims(); err != nil || len(claims.Nodes) != 1 || claims.Nodes[0].Name != "node-b" {
		t.Errorf("still remembered: %+v, %v", claims, err)
	}
}

// TestClaimsAreWrittenWhenDue: without anything else that happens, before a rotated key
// is told, and at the end.
func TestClaimsAreWrittenWhenDue(t *testing.T) {
	c := config(t)
	var ahead atomic.Int64
	c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	source := newTelling()
	c.Source = source
	b := keymgr.Node{Name: "node-b", PublicKey: publicKey(t, "b"), NodeIPs: addrs("192.0.2.102"), Endpoint: netip.MustParseAddrPort("127.0.0.1:9")}
	written := func(pods []netip.Prefix) bool {
		claims, err := keymgr.NewStore(c.StateDir).PeekClaims()
		return err == nil && len(claims.Nodes) == 1 && slices.Equal(claims.Nodes[0].PodCIDRs, pods)
	}
	pod := func(n int) []netip.Prefix { return prefixes(fmt.Sprintf("10.244.2.%d/32", n)) }
	t.Run("running", func(t *testing.T) {
		d := run(t, c)
		tell := func(n int) {
			source.tell(nil, pod(n), b)
			wait(t, d, "the pod", func(s dataplane.Status) bool { return len(s.Peers) == 1 && slices.Equal(s.Peers[0].PodCIDRs, pod(n)) })
		}
		tell(1)
		wait(t, d, "the first in the file", func(dataplane.Status) bool { return written(pod(1)) })
		ahead.Add(int64(9900 * time.Millisecond))
		tell(2)
		wait(t, d, "the second in the file", func(dataplane.Status) bool { return written(pod(2)) })
		tell(3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := d.RotateKey(ctx); err != nil || !written(pod(3)) {
			t.Errorf("the third after a rotation: %v, %v", written(pod(3)), err)
		}
		tell(4)
	})
	if !written(pod(4)) {
		t.Error("the fourth is not in the file after the end")
	}
}

// checkClasses looks at what the programs take the first address of each prefix for.
func checkClasses(t *testing.T, c dataplane.Config, own, peers []netip.Prefix) {
	t.Helper()
	for _, all := range []struct {
		class    string
		prefixes []netip.Prefix
	}{{"local_pod", own}, {"remote_pod", peers}} {
		for _, p := range all.prefixes {
			e, err := steering.Explain(steering.Options{BPFFS: c.BPFFS, Name: c.Interface}, c.NodeIPs[0], p.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if e.Destination.Class != all.class {
				t.Errorf("%s is %s, want %s", p, e.Destination.Class, all.class)
			}
		}
	}
}
