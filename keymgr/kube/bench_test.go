package kube

import (
	"fmt"
	"testing"

	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
	"github.com/wgsteer/wgsteer/wgkey"
)

// BenchmarkSnapshot is what a change of any object costs: the snapshot is made anew of
// all, with each record read.
func BenchmarkSnapshot(b *testing.B) {
	for _, nodes := range []int{10, 500} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			v := view{self: "node-0000", from: FromNodes, nodes: map[string]nodeFacts{}, records: map[string]recordFacts{}}
			for i := range nodes {
				name, ip := fmt.Sprintf("node-%04d", i), fmt.Sprintf("198.18.%d.%d", i>>8, i&255)
				v.nodes[name] = nodeFacts{uid: "uid", podCIDRs: []string{fmt.Sprintf("10.%d.%d.0/24", i>>8, i&255)}, addresses: addrs(ip)}
				r := record(1)
				r.spec.PublicKeys[0].Key = wgkey.PublicKey{byte(i), byte(i >> 8), 1}.String()
				r.spec.Endpoints = []v1alpha1.Endpoint{v1alpha1.Endpoint(ip + ":51871")}
				r.spec.NodeIPs = []v1alpha1.NodeIP{v1alpha1.NodeIP(ip)}
				v.records[name] = r
			}
			var m memory
			b.ReportAllocs()
			for b.Loop() {
				if s := m.snapshot(v); len(s.Nodes) != nodes || len(s.Problems) > 0 {
					b.Fatalf("%d nodes, problems %v", len(s.Nodes), s.Problems)
				}
			}
		})
	}
}
