package dataplane

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgsteer/wgsteer/keymgr"
)

// usable are the nodes without what no node can have: pods that clusterCIDRs do not hold,
// and addresses that nodeCIDRs do not admit. A node's kubelet says what addresses its
// Node and its Pods have, so one that was taken over may name the world's, or those of a
// node that joins later. Therefore it comes before claims are settled: what is of no use
// to a node keeps nobody else out. Of this node's own record the pods are left to ownPods.
func usable(c Config, nodes []keymgr.Node) (fit []keymgr.Node, problems []keymgr.Problem) {
	fit = slices.Clone(nodes)
	for i, n := range fit {
		tell := func(warning bool, format string, args ...any) {
			problems = append(problems, keymgr.Problem{Node: n.Name, Record: n.Record, Warning: warning, Message: fmt.Sprintf(format, args...)})
		}
		if out := filter(n.PodCIDRs, func(p netip.Prefix) bool { return !c.holds(p) }); len(out) > 0 && n.Name != c.Node {
			fit[i].PodCIDRs = filter(n.PodCIDRs, c.holds)
			tell(false, "pod CIDR %s is in none of clusterCIDRs (%s), so not used: these pods talk in plaintext; correct the record, or add a prefix there that holds it",
				oneOf(out), join(c.ClusterCIDRs))
		}
		if out := filter(n.NodeIPs, func(a netip.Addr) bool { return !c.admits(a) }); len(out) > 0 {
			fit[i].NodeIPs = filter(n.NodeIPs, c.admits)
			tell(true, "node address %s is in none of nodeCIDRs (%s), so not used: what pods exchange with it is in plaintext; if it is the node's, add a prefix there that holds it",
				oneOf(out), join(c.NodeCIDRs))
		}
	}
	return fit, problems
}

// admits reports whether a may be a node's address: nodeCIDRs hold all of the families
// that they name.
func (c Config) admits(a netip.Addr) bool {
	named := slices.ContainsFunc(c.NodeCIDRs, func(p netip.Prefix) bool { return p.Addr().BitLen() == a.BitLen() })
	_, in := within(c.NodeCIDRs, a)
	return in || !named
}

// oneOf names the first of some, without their number: each node writes what it tells
// into its record's status, and pods come and go.
func oneOf[T fmt.Stringer](list []T) string {
	if len(list) == 1 {
		return list[0].String()
	}
	return list[0].String() + ", like others of the node,"
}
