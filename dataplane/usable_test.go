package dataplane

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
)

func TestUsable(t *testing.T) {
	for _, tc := range []struct {
		name      string
		nodeCIDRs []netip.Prefix
		node      keymgr.Node
		pods      []netip.Prefix
		nodeIPs   []netip.Addr
		want      []string // what its problems begin with
	}{
		{name: "all is well", nodeCIDRs: pfx("192.0.2.0/24"),
			node: keymgr.Node{Name: "node-b", PodCIDRs: pfx("10.244.2.0/24"), NodeIPs: ips("192.0.2.2")},
			pods: pfx("10.244.2.0/24"), nodeIPs: ips("192.0.2.2")},
		{name: "a pod with a node's address", node: keymgr.Node{Name: "node-b", PodCIDRs: pfx("10.244.2.1/32", "192.0.2.3/32")},
			pods: pfx("10.244.2.1/32"), want: []string{"pod CIDR 192.0.2.3/32 is in none of clusterCIDRs (10.244.0.0/16)"}},
		{name: "more such", node: keymgr.Node{Name: "node-b", PodCIDRs: pfx("192.0.2.3/32", "192.0.2.4/32")},
			want: []string{"pod CIDR 192.0.2.3/32, like others of the node, is in none"}},
		{name: "more than the cluster", node: keymgr.Node{Name: "node-b", PodCIDRs: pfx("10.0.0.0/8")},
			want: []string{"pod CIDR 10.0.0.0/8 is in none"}},
		{name: "pods of this node are ownPods'", node: keymgr.Node{Name: "node-a", PodCIDRs: pfx("10.9.0.0/24")}, pods: pfx("10.9.0.0/24")},
		{name: "an address of the world", nodeCIDRs: pfx("192.0.2.0/24", "198.51.100.0/24"),
			node:    keymgr.Node{Name: "node-b", NodeIPs: ips("192.0.2.2", "203.0.113.5", "198.51.100.2")},
			nodeIPs: ips("192.0.2.2", "198.51.100.2"),
			want:    []string{"node address 203.0.113.5 is in none of nodeCIDRs (192.0.2.0/24, 198.51.100.0/24)"}},
		{name: "nothing else", nodeCIDRs: pfx("192.0.2.0/24"), node: keymgr.Node{Name: "node-b", NodeIPs: ips("203.0.113.5", "203.0.113.6")},
			want: []string{"node address 203.0.113.5, like others of the node, is in none of nodeCIDRs"}},
		{name: "of this node as well", nodeCIDRs: pfx("192.0.2.0/24"), node: keymgr.Node{Name: "node-a", NodeIPs: ips("203.0.113.5")},
			want: []string{"node address 203.0.113.5 is in none of nodeCIDRs"}},
		{name: "no node CIDRs", node: keymgr.Node{Name: "node-b", NodeIPs: ips("203.0.113.5")}, nodeIPs: ips("203.0.113.5")},
		{name: "none of that family", nodeCIDRs: pfx("192.0.2.0/24"), node: keymgr.Node{Name: "node-b", NodeIPs: ips("2001:db8::2")}, nodeIPs: ips("2001:db8::2")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config()
			c.NodeCIDRs = tc.nodeCIDRs
			before := tc.node.Clone()
			fit, problems := usable(c, []keymgr.Node{tc.node})
			if d := cmp.Diff([]keymgr.Node{{Name: tc.node.Name, PodCIDRs: tc.pods, NodeIPs: tc.nodeIPs}}, fit, compare); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if !tc.node.Equal(before) {
				t.Errorf("the argument has become %+v", tc.node)
			}
			if len(problems) != len(tc.want) || !slices.EqualFunc(problems, tc.want, func(p keymgr.Problem, want string) bool {
				return p.Node == tc.node.Name && strings.HasPrefix(p.Message, want)
			}) {
				t.Errorf("problems %+v, want %q", problems, tc.want)
			}
		})
	}
}
