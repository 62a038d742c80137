package keymgr_test

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"testing"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
)

// clusterOf are nodes with pods of either family and an address each.
func clusterOf(nodes int) []keymgr.Node {
	all := make([]keymgr.Node, nodes)
	for i := range all {
		high, low := byte(i>>8), byte(i)
		node := netip.AddrFrom4([4]byte{198, 18, high, low})
		all[i] = keymgr.Node{
			Name: fmt.Sprintf("node-%04d", i), Record: fmt.Sprintf("node-%04d.yaml", i),
			PublicKey: wgkey.PublicKey{low, high, 1}, NodeIPs: []netip.Addr{node}, Endpoint: netip.AddrPortFrom(node, 51871),
			PodCIDRs: []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, high, low, 0}), 24),
				netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 4: high, 5: low}), 48),
			},
		}
	}
	return all
}

// BenchmarkKey is what the store does with a key. What writes is durable: as fast as the
// disk under the temporary directory syncs.
func BenchmarkKey(b *testing.B) {
	b.Run("op=create", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			store, _ := newStore(b)
			b.StartTimer()
			if made, err := store.LoadOrCreate(rand.Reader); err != nil || !made.Created {
				b.Fatalf("%+v, %v", made, err)
			}
		}
	})
	b.Run("op=load", func(b *testing.B) {
		store, _, key := withKey(b)
		b.ReportAllocs()
		for b.Loop() {
			if got, err := store.Load(); err != nil || !got.Equal(key) {
				b.Fatal(err)
			}
		}
	})
	b.Run("op=rotate", func(b *testing.B) {
		store, _, _ := withKey(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := store.Rotate(rand.Reader); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkClaims is what each snapshot costs: to decide who may claim what, and to
// remember it, durably where it has changed.
func BenchmarkClaims(b *testing.B) {
	for _, nodes := range []int{10, 500} {
		all, more := clusterOf(nodes), clusterOf(nodes)
		more[nodes/2].PodCIDRs = append(more[nodes/2].PodCIDRs, netip.MustParsePrefix("10.254.0.0/24"))
		history := keymgr.ClaimsOf(all)
		run := func(op string, do func(i int) bool) {
			b.Run(fmt.Sprintf("nodes=%d/op=%s", nodes, op), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if !do(i) {
						b.Fatal("it does not work")
					}
				}
			})
		}
		resolves := func(history keymgr.Claims) func(int) bool {
			return func(int) bool {
				accepted, problems := keymgr.Resolve(self, history, keymgr.Snapshot{Nodes: more})
				return len(accepted) == nodes && len(problems) == 0
			}
		}
		run("resolve", resolves(history))
		run("resolve-first", resolves(keymgr.Claims{}))
		run("remember", func(int) bool { return len(keymgr.ClaimsOf(more).Nodes) == nodes })
		store, _, _ := withKey(b)
		if err := store.SaveClaims(history); err != nil {
			b.Fatal(err)
		}
		run("save-same", func(int) bool { return store.SaveClaims(history) == nil })
		states := []keymgr.Claims{keymgr.ClaimsOf(more), history}
		run("save", func(i int) bool { return store.SaveClaims(states[i%2]) == nil })
		run("load", func(int) bool {
			claims, setAside, err := store.LoadClaims()
			return err == nil && setAside == "" && len(claims.Nodes) == nodes
		})
	}
}
