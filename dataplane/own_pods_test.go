package dataplane

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
)

func local(cidrs ...string) *keymgr.Local { return &keymgr.Local{PodCIDRs: pfx(cidrs...)} }

func TestOwnPods(t *testing.T) {
	for name, tc := range map[string]struct {
		configured []netip.Prefix
		told       *keymgr.Local
		want       []netip.Prefix
		problems   []string // parts of the messages
	}{
		"configured":               {pfx("10.244.1.0/24"), nil, pfx("10.244.1.0/24"), nil},
		"configured wins":          {pfx("10.244.1.0/24"), local("10.9.0.0/24"), pfx("10.244.1.0/24"), nil},
		"nobody knows":             {nil, nil, nil, nil},
		"told that there are none": {nil, local(), nil, nil},
		"told":                     {nil, local("10.244.7.0/24"), pfx("10.244.7.0/24"), nil},
		"told twice":               {nil, local("10.244.7.0/24", "10.244.7.0/24"), pfx("10.244.7.0/24"), nil},
		"outside, the rest is used": {nil, local("10.9.0.0/24", "10.244.7.0/24"), pfx("10.244.7.0/24"),
			[]string{"10.9.0.0/24, told by the source of node records, cannot be this node's pods: clusterCIDRs (10.244.0.0/16) does not hold it; add a prefix there"}},
		"wider than the cluster": {nil, local("10.0.0.0/8"), nil, []string{"10.0.0.0/8"}},
		"one problem a reason": {nil, local("10.9.0.1/32", "10.9.0.2/32", "10.9.0.3/32", "10.9.0.4/32", "10.9.0.5/32", "192.0.2.1/32"), nil,
			[]string{"10.9.0.1/32, 10.9.0.2/32, 10.9.0.3/32, 10.9.0.4/32 and 1 more", "192.0.2.1/32, told by the source of node records, cannot be this node's pods: this node's own address 192.0.2.1"}},
		"unmasked":  {nil, local("10.244.7.5/24"), nil, []string{"write 10.244.7.0/24"}},
		"no prefix": {nil, &keymgr.Local{PodCIDRs: []netip.Prefix{{}}}, nil, []string{"is not an IP prefix"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := config()
			c.PodCIDRs = tc.configured
			p := makePlan(c, key(t, "a"), facts{local: tc.told}, nil)
			if d := cmp.Diff(tc.want, p.self.PodCIDRs, compare); d != "" {
				t.Errorf("own record (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.want, p.steering.LocalPodCIDRs, compare); d != "" {
				t.Errorf("steering (-want +got):\n%s", d)
			}
			if err := p.steering.Validate(); err != nil {
				t.Errorf("what is left cannot be steered: %v", err)
			}
			if len(p.problems) != len(tc.problems) {
				t.Fatalf("problems: %+v", p.problems)
			}
			for i, want := range tc.problems {
				if p.problems[i].Node != "node-a" || !strings.Contains(p.problems[i].Message, want) {
					t.Errorf("problem: %+v, want %q", p.problems[i], want)
				}
			}
		})
	}
}

func TestLocalAfter(t *testing.T) {
	before, now := local("10.244.1.0/24"), local("10.244.2.0/24")
	for name, tc := range map[string]struct {
		s    keymgr.Snapshot
		want *keymgr.Local
	}{
		"told":                  {keymgr.Snapshot{Local: now}, now},
		"told, records missing": {keymgr.Snapshot{Local: now, Partial: true}, now},
		"nothing yet":           {keymgr.Snapshot{Partial: true}, before},
		"taken back":            {keymgr.Snapshot{}, nil},
	} {
		if got := localAfter(before, tc.s); !got.Equal(tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// TestOwnPodsAreRemembered: and this node is no peer, whatever it was called.
func TestOwnPodsAreRemembered(t *testing.T) {
	c, b := config(), nodeB(t)
	for name, tc := range map[string]struct {
		configured []netip.Prefix
		told       *keymgr.Local
		node       string
		want       *keymgr.Local
	}{
		"told":         {nil, local("10.244.7.0/24"), "node-a", local("10.244.7.0/24")},
		"renamed":      {nil, local("10.244.7.0/24"), "node-z", nil},
		"configured":   {c.PodCIDRs, local("10.244.7.0/24"), "node-a", nil},
		"nothing told": {nil, nil, "node-a", nil},
	} {
		c.PodCIDRs = tc.configured
		store := keymgr.NewStore(filepath.Join(t.TempDir(), "state"))
		if err := store.SaveClaims(keymgr.ClaimsOf(append(ownClaim(c, tc.told), b))); err != nil {
			t.Fatal(err)
		}
		claims, err := store.PeekClaims()
		if err != nil {
			t.Fatal(err)
		}
		peers, got := recall(tc.node, claims)
		if !got.Equal(tc.want) {
			t.Errorf("%s: remembered %v, want %v", name, got, tc.want)
		}
		if len(peers) != 1 || !peers[0].Equal(b) {
			t.Errorf("%s: peers %+v", name, peers)
		}
	}
}

// TestPodCIDRsSwap: between this node and a peer, told in one snapshot or in two,
// in either order, with what was known before as history.
func TestPodCIDRsSwap(t *testing.T) {
	c, a, b := config(), key(t, "a"), nodeB(t)
	c.PodCIDRs = nil
	first, swapped := pfx("10.244.1.0/24"), pfx("10.244.2.0/24") // this node's
	bSwapped := b.Clone()
	bSwapped.PodCIDRs = first
	at := func(own []netip.Prefix, history keymgr.Claims, record keymgr.Node) (plan, []keymgr.Node) {
		f := facts{local: &keymgr.Local{PodCIDRs: own}}
		nodes, _ := keymgr.Resolve(self(c, a.Public(), f), history, keymgr.Snapshot{Nodes: []keymgr.Node{record}})
		return makePlan(c, a, f, nodes), nodes
	}
	before, nodes := at(first, keymgr.Claims{}, b)
	history := keymgr.ClaimsOf(nodes)
	for name, between := range map[string]func() (plan, []keymgr.Node){
		"at once":         nil,
		"this node first": func() (plan, []keymgr.Node) { return at(swapped, history, b) },
		"the peer first":  func() (plan, []keymgr.Node) { return at(first, history, bSwapped) },
	} {
		t.Run(name, func(t *testing.T) {
			state, history := before.steering, history
			if between != nil {
				p, nodes := between()
				checkSteps(t, state, p)
				state, history = p.steering, keymgr.ClaimsOf(nodes)
			}
			after, _ := at(swapped, history, bSwapped)
			if len(after.problems) > 0 || len(after.steering.Peers) != 1 || !slices.Equal(after.steering.Peers[0].PodCIDRs, first) ||
				!slices.Equal(after.steering.LocalPodCIDRs, swapped) {
				t.Errorf("after the swap: %+v, problems %v", after.steering, after.problems)
			}
			checkSteps(t, state, after)
		})
	}
}

// checkSteps looks at what apply goes through on its way from a state to p's.
func checkSteps(t *testing.T, from steering.State, p plan) {
	t.Helper()
	step, _ := withoutRemoved(from, p.steering)
	if err := step.Validate(); err != nil {
		t.Errorf("the step cannot be steered: %v", err)
	}
	for _, peer := range step.Peers { // the tunnel is about to give these to nobody
		for _, cidr := range peer.PodCIDRs {
			if slices.Contains(p.steering.LocalPodCIDRs, cidr) {
				t.Errorf("%s is still steered to %s when it becomes this node's", cidr, peer.Name)
			}
		}
	}
	first := p.steering // as apply puts it, where the tunnel is a new one
	first.Peers = step.Peers
	if err := first.Validate(); err != nil {
		t.Errorf("the first step with a new tunnel cannot be steered: %v", err)
	}
}
