package keymgr_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
)

// netipValues lets cmp compare what it may not look into.
var netipValues = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// n builds a node out of words: "kN" is its key, "eADDR" its endpoint's
// address, a prefix is a pod CIDR, and an address a node IP.
func n(name string, words ...string) keymgr.Node {
	node := keymgr.Node{Name: name, Record: name + ".yaml"}
	for _, w := range words {
		switch {
		case w[0] == 'k':
			node.PublicKey = wgkey.PublicKey{w[1], 1}
		case w[0] == 'e':
			node.Endpoint = netip.AddrPortFrom(netip.MustParseAddr(w[1:]), 51871)
		case strings.Contains(w, "/"):
			node.PodCIDRs = append(node.PodCIDRs, netip.MustParsePrefix(w))
		default:
			node.NodeIPs = append(node.NodeIPs, netip.MustParseAddr(w))
		}
	}
	return node
}

var self = n("self", "kS", "192.0.2.200", "e192.0.2.200", "10.244.200.0/24")

func TestResolve(t *testing.T) {
	type nodes = []keymgr.Node
	a := n("a", "kA", "192.0.2.1", "e192.0.2.1", "10.244.1.0/24", "2001:db8:0:1::/64")
	b := n("b", "kB", "192.0.2.2", "e192.0.2.2", "10.244.2.0/24")
	tests := []struct {
		name     string
		history  nodes
		records  nodes
		unusable []string
		partial  bool
		want     nodes
		problems []string // "node: beginning of the message", all of them
	}{
		{name: "nothing"},
		{name: "no dispute", records: nodes{a, b}, want: nodes{a, b}},
		{name: "own record is no peer", records: nodes{a, self}, want: nodes{a}},
		{
			name: "one key, history", history: nodes{a}, records: nodes{a, n("c", "kA")}, want: nodes{a},
			problems: []string{"c: public key QQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= of node c is also claimed by node a, which had it before: node c is not programmed."},
		},
		{
			name: "one key, no history", records: nodes{a, b, n("c", "kA")}, want: nodes{b},
			problems: []string{
				"a: public key QQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= of node a is also claimed by node c, and nothing says who had it first, so neither is used: node a is not programmed.",
				"c: public key QQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= of node c is also claimed by node a, and nothing says who had it first",
			},
		},
		{
			name: "pods within pods, history", history: nodes{a}, records: nodes{a, n("0", "k0", "10.244.0.0/20")}, want: nodes{a},
			problems: []string{"0: pod CIDR 10.244.0.0/20 of node 0 overlaps pod CIDR 10.244.1.0/24 of node a, which had it before: node 0 is not programmed. Put the node's own pod CIDR into the record that is wrong, or remove that record"},
		},
		{
			name: "pods around pods, history", history: nodes{a}, records: nodes{a, n("c", "kC", "2001:db8:0:1:2::/80")}, want: nodes{a},
			problems: []string{"c: pod CIDR 2001:db8:0:1:2::/80 of node c overlaps pod CIDR 2001:db8:0:1::/64 of node a"},
		},
		{
			name: "the whole record is refused", history: nodes{a}, records: nodes{a, n("c", "kC", "10.244.3.0/24", "10.244.1.128/25")}, want: nodes{a},
			problems: []string{"c: pod CIDR 10.244.1.128/25 of node c"},
		},
		{
			name: "node IP twice, no history", records: nodes{a, n("c", "kC", "192.0.2.1")},
			problems: []string{"a: node IP 192.0.2.1 of node a is also claimed by", "c: node IP 192.0.2.1 of node c"},
		},
		{
			name: "node IP among pods, history", history: nodes{a}, records: nodes{a, n("c", "kC", "10.244.1.7")}, want: nodes{a},
			problems: []string{"c: node IP 10.244.1.7 of node c overlaps pod CIDR 10.244.1.0/24 of node a"},
		},
		{
			name: "endpoint among pods, history", history: nodes{a}, records: nodes{a, n("c", "kC", "e10.244.1.7")}, want: nodes{a},
			problems: []string{"c: endpoint address 10.244.1.7 of node c overlaps pod CIDR 10.244.1.0/24 of node a, which had it before: node c is not programmed. Put an address outside all pod CIDRs"},
		},
		{
			name: "pods around an endpoint, history", history: nodes{a}, records: nodes{a, n("c", "kC", "192.0.2.0/30")}, want: nodes{a},
			problems: []string{"c: pod CIDR 192.0.2.0/30 of node c overlaps node IP 192.0.2.1 of node a"},
		},
		{
			name:    "one endpoint address behind a NAT is fine",
			records: nodes{n("a", "kA", "e198.51.100.1"), n("b", "kB", "e198.51.100.1"), n("c", "kC", "198.51.100.1")},
			want:    nodes{n("a", "kA", "e198.51.100.1"), n("b", "kB", "e198.51.100.1"), n("c", "kC", "198.51.100.1")},
		},
		{
			name: "own key", history: nodes{n("c", "kS")}, records: nodes{n("c", "kS")},
			problems: []string{"c: public key UwEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= of node c is also claimed by node self, which is this node itself: node c is not programmed."},
		},
		{
			name: "own pods", records: nodes{n("c", "kC", "10.244.0.0/16")},
			problems: []string{"c: pod CIDR 10.244.0.0/16 of node c overlaps pod CIDR 10.244.200.0/24 of node self, which is this node itself"},
		},
		{
			name: "own address", records: nodes{n("c", "kC", "192.0.2.200")},
			problems: []string{"c: node IP 192.0.2.200 of node c is also claimed by node self"},
		},
		{
			name: "endpoint among own pods", records: nodes{n("c", "kC", "e10.244.200.9")},
			problems: []string{"c: endpoint address 10.244.200.9 of node c overlaps pod CIDR 10.244.200.0/24 of node self"},
		},
		{
			name: "holder falls back from own pods", history: nodes{a}, records: nodes{n("a", "kA", "10.244.200.0/25")}, want: nodes{a},
			problems: []string{"a: pod CIDR 10.244.200.0/25 of node a overlaps pod CIDR 10.244.200.0/24 of node self, which is this node itself: node a stays as it was before."},
		},
		{
			name: "another host in the own name", records: nodes{n("self", "kX")},
			problems: []string{"self: the record of node self, this node's own name, has public key WAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, and this node's is UwEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=;"},
		},
		{
			name: "holder gone, newcomer takes all", history: nodes{a}, records: nodes{n("c", "kA", "192.0.2.1", "10.244.1.0/24")},
			want: nodes{n("c", "kA", "192.0.2.1", "10.244.1.0/24")},
		},
		{
			name: "holder changes key and pods", history: nodes{a}, records: nodes{n("a", "kZ", "10.244.9.0/24"), b},
			want: nodes{n("a", "kZ", "10.244.9.0/24"), b},
		},
		{
			name: "holder moves away, newcomer moves in", history: nodes{a}, records: nodes{n("a", "kZ", "10.244.9.0/24"), n("c", "kA", "10.244.1.0/24")},
			want: nodes{n("a", "kZ", "10.244.9.0/24"), n("c", "kA", "10.244.1.0/24")},
		},
		{
			name: "holder takes from holder and keeps its last", history: nodes{a, b}, records: nodes{a, n("b", "kB", "10.244.1.0/25")}, want: nodes{a, b},
			problems: []string{"b: pod CIDR 10.244.1.0/25 of node b overlaps pod CIDR 10.244.1.0/24 of node a, which had it before: node b stays as it was before."},
		},
		{
			name: "what a holder fell back to is not free", history: nodes{a, b}, records: nodes{a, n("b", "kB", "10.244.1.0/25"), n("c", "kC", "10.244.2.0/24")},
			want: nodes{a, b},
			problems: []string{
				"b: pod CIDR 10.244.1.0/25 of node b overlaps",
				"c: pod CIDR 10.244.2.0/24 of node c is also claimed by node b, which had it before: node c is not programmed.",
			},
		},
		{
			name: "holders swap", history: nodes{n("a", "kA", "10.244.1.0/24"), n("b", "kB", "10.244.2.0/24")},
			records: nodes{n("a", "kA", "10.244.2.0/24"), n("b", "kB", "10.244.1.0/24")},
			want:    nodes{n("a", "kA", "10.244.2.0/24"), n("b", "kB", "10.244.1.0/24")},
		},
		{
			name: "holder shrinks its prefix", history: nodes{n("a", "kA", "10.244.0.0/16")}, records: nodes{n("a", "kA", "10.244.1.0/24"), n("c", "kC", "10.244.1.0/24")},
			want:     nodes{n("a", "kA", "10.244.1.0/24")},
			problems: []string{"c: pod CIDR 10.244.1.0/24 of node c is also claimed by node a, which had it before"},
		},
		{
			name: "holder grows over a newcomer", history: nodes{n("a", "kA", "10.244.1.0/24")}, records: nodes{n("a", "kA", "10.244.0.0/20"), n("c", "kC", "10.244.2.0/24")},
			want: nodes{n("a", "kA", "10.244.1.0/24")},
			problems: []string{
				"a: pod CIDR 10.244.0.0/20 of node a overlaps pod CIDR 10.244.2.0/24 of node c, and nothing says who had it first, so neither is used: node a stays as it was before.",
				"c: pod CIDR 10.244.2.0/24 of node c overlaps pod CIDR 10.244.0.0/20 of node a, and nothing says who had it first, so neither is used: node c is not programmed.",
			},
		},
		{
			name: "unusable record stays as history has it", history: nodes{a, b}, records: nodes{b}, unusable: []string{"a", "z"}, want: nodes{a, b},
		},
		{
			name: "unusable record still holds", history: nodes{a}, records: nodes{n("c", "kA")}, unusable: []string{"a"}, want: nodes{a},
			problems: []string{"c: public key QQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= of node c is also claimed by node a, which had it before"},
		},
		{name: "partial snapshot releases nobody", history: nodes{a, b}, records: nodes{b}, partial: true, want: nodes{a, b}},
		{name: "record gone", history: nodes{a, b}, records: nodes{b}, want: nodes{b}},
		{
			name: "history that contradicts itself decides nothing", history: nodes{n("a", "kA"), n("b", "kA")}, records: nodes{n("a", "kA"), n("b", "kA")},
			problems: []string{"a: public key", "b: public key"},
		},
		{
			name: "one problem for a pair", history: nodes{n("a", "kA", "10.244.1.0/24", "10.244.2.0/24")},
			records: nodes{n("a", "kA", "10.244.1.0/24", "10.244.2.0/24"), n("c", "kA", "10.244.1.0/24", "10.244.2.0/24")},
			want:    nodes{n("a", "kA", "10.244.1.0/24", "10.244.2.0/24")}, problems: []string{"c: public key"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			accepted, problems := keymgr.Resolve(self, keymgr.ClaimsOf(tt.history),
				keymgr.Snapshot{Nodes: tt.records, Unusable: tt.unusable, Partial: tt.partial})
			if diff := cmp.Diff(tt.want, accepted, netipValues); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
			checkProblems(t, tt.problems, problems)
		})
	}
}

func checkProblems(t *testing.T, want []string, got []keymgr.Problem) {
	t.Helper()
	var lines []string
	for i, p := range got {
		line := p.Node + ": " + p.Message
		if i < len(want) && strings.HasPrefix(line, want[i]) {
			line = want[i]
		}
		lines = append(lines, line)
		if p.Record != p.Node+".yaml" || p.Warning {
			t.Errorf("problem %+v: want the record of that node, and no warning", p)
		}
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// TestResolveHolds checks on random clusters what Resolve promises of any.
func TestResolveHolds(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	self := n("self", "kC", "10.244.48.0/22", "e10.244.16.2") // in the way of some
	for range 2_000 {
		history, records := randomNodes(r), randomNodes(r)
		before, _ := keymgr.Resolve(self, keymgr.Claims{}, keymgr.Snapshot{Nodes: history})
		claims := keymgr.ClaimsOf(before)
		accepted, problems := keymgr.Resolve(self, claims, keymgr.Snapshot{Nodes: records})

		if x, y, ok := overlap(append(slices.Clone(accepted), self)); ok {
			t.Fatalf("accepted both %+v and %+v\nhistory %+v\nrecords %+v", x, y, before, records)
		}
		for _, n := range records {
			i := slices.IndexFunc(accepted, func(a keymgr.Node) bool { return a.Name == n.Name })
			told := slices.ContainsFunc(problems, func(p keymgr.Problem) bool { return p.Node == n.Name })
			if unchanged := i >= 0 && accepted[i].Equal(n); unchanged == told {
				t.Fatalf("node %s accepted as it is: %v, in problems: %v\nhistory %+v\nrecords %+v", n.Name, unchanged, told, before, records)
			}
			j := slices.IndexFunc(before, func(b keymgr.Node) bool { return b.Name == n.Name })
			if j >= 0 && i < 0 {
				t.Fatalf("holder %s lost everything\nhistory %+v\nrecords %+v\n%+v", n.Name, before, records, problems)
			}
			if i >= 0 && !accepted[i].Equal(n) && (j < 0 || !accepted[i].Equal(before[j])) {
				t.Fatalf("node %s is neither as recorded nor as before", n.Name)
			}
		}
		again, problemsAgain := keymgr.Resolve(self, keymgr.ClaimsOf(accepted), keymgr.Snapshot{Nodes: records})
		if diff := cmp.Diff(accepted, again, netipValues); diff != "" {
			t.Fatalf("not settled after one step (-first +second):\n%s\nhistory %+v\nrecords %+v", diff, before, records)
		}
		if len(problems) > 0 != (len(problemsAgain) > 0) {
			t.Fatalf("problems came or went without a change: %+v, then %+v", problems, problemsAgain)
		}
		slices.Reverse(records)
		if turned, _ := keymgr.Resolve(self, claims, keymgr.Snapshot{Nodes: records}); !cmp.Equal(accepted, turned, netipValues) {
			t.Fatalf("the order of records matters\nhistory %+v\nrecords %+v", before, records)
		}
	}
}

// randomNodes draws from so few values that most clusters have disputes.
func randomNodes(r *rand.Rand) []keymgr.Node {
	var nodes []keymgr.Node
	for i := range 5 {
		if r.IntN(4) == 0 {
			continue
		}
		words := []string{fmt.Sprintf("k%c", 'A'+rune(r.IntN(8)))}
		if r.IntN(2) == 0 {
			words = append(words, fmt.Sprintf("10.244.%d.0/%d", 16*r.IntN(8), 20+r.IntN(5)))
		}
		if r.IntN(3) == 0 {
			words = append(words, fmt.Sprintf("10.244.%d.%d", 16*r.IntN(8), r.IntN(3)))
		}
		if r.IntN(3) == 0 {
			words = append(words, fmt.Sprintf("e10.244.%d.%d", 16*r.IntN(8), r.IntN(3)))
		}
		nodes = append(nodes, n(string(rune('a'+i)), words...))
	}
	return nodes
}

// overlap is the plain twin of what Resolve looks for: every pair, every value.
func overlap(nodes []keymgr.Node) (x, y keymgr.Node, found bool) {
	for i, x := range nodes {
		for _, y := range nodes[i+1:] {
			if x.PublicKey == y.PublicKey || overlapping(claimed(x), claimed(y)) ||
				overlapping(endpointOf(x), y.PodCIDRs) || overlapping(x.PodCIDRs, endpointOf(y)) {
				return x, y, true
			}
		}
	}
	return x, y, false
}

func claimed(n keymgr.Node) []netip.Prefix {
	all := slices.Clone(n.PodCIDRs)
	for _, ip := range n.NodeIPs {
		all = append(all, netip.PrefixFrom(ip, ip.BitLen()))
	}
	return all
}

func endpointOf(n keymgr.Node) []netip.Prefix {
	if ip := n.Endpoint.Addr(); ip.IsValid() {
		return []netip.Prefix{netip.PrefixFrom(ip, ip.BitLen())}
	}
	return nil
}

func overlapping(some, others []netip.Prefix) bool {
	for _, p := range some {
		if slices.ContainsFunc(others, p.Overlaps) {
			return true
		}
	}
	return false
}

func TestResolveLargeCluster(t *testing.T) {
	var nodes []keymgr.Node
	for i := range 20_000 {
		key := wgkey.PublicKey{byte(i), byte(i >> 8), 7}
		cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		nodes = append(nodes, keymgr.Node{Name: fmt.Sprintf("n%05d", i), PublicKey: key, PodCIDRs: []netip.Prefix{cidr}})
	}
	accepted, problems := keymgr.Resolve(n("self", "kS"), keymgr.Claims{}, keymgr.Snapshot{Nodes: nodes})
	if len(accepted) != len(nodes) || len(problems) != 0 {
		t.Errorf("%d accepted, %d problems; want %d and none", len(accepted), len(problems), len(nodes))
	}
}

func TestClaimsOfSharesNothing(t *testing.T) {
	accepted := []keymgr.Node{n("b", "kB", "10.244.2.0/24"), n("a", "kA", "192.0.2.1")}
	claims := keymgr.ClaimsOf(accepted)
	accepted[0].PodCIDRs[0], accepted[1].NodeIPs[0] = netip.Prefix{}, netip.Addr{}
	want := keymgr.Claims{Nodes: []keymgr.Node{n("a", "kA", "192.0.2.1"), n("b", "kB", "10.244.2.0/24")}}
	if diff := cmp.Diff(want, claims, netipValues); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

// TestClaimsApart: this node is among the claims for its pods alone, and never a
// peer, nor a holder against itself.
func TestClaimsApart(t *testing.T) {
	a, own, renamed := n("a", "kA", "10.244.1.0/24"), n("self", "10.244.200.0/24"), n("z", "10.244.201.0/24")
	claims := keymgr.ClaimsOf([]keymgr.Node{renamed, own, a})
	got, peers := claims.Apart("self")
	if !got.Equal(own) || len(peers) != 1 || !peers[0].Equal(a) {
		t.Errorf("own %+v, peers %+v", got, peers)
	}
	now := n("self", "kS", "10.244.1.0/24") // what a had; a has another
	accepted, problems := keymgr.Resolve(now, keymgr.ClaimsOf([]keymgr.Node{own, a}), keymgr.Snapshot{Nodes: []keymgr.Node{n("a", "kA", "10.244.200.0/24")}})
	if len(accepted) != 1 || len(problems) != 0 || accepted[0].PodCIDRs[0] != own.PodCIDRs[0] {
		t.Errorf("after a swap: %+v, problems %v", accepted, problems)
	}
}
