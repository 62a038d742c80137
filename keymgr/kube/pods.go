package kube

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
)

// podFacts are what counts of a Pod.
type podFacts struct {
	node    string
	ips     []netip.Addr
	created time.Time
	ending  bool // it is being deleted
}

// maxPodsOfNode is how many pods of one node count. Kubernetes is made for 110 on a node
// (kubelet's maxPods, "Considerations for large clusters"), clouds allow some 250. Whoever
// has one kubelet's credentials can make Pods there without end, and all nodes share
// 65,536 prefixes: without a bound those of one would be in the way of all others'.
const maxPodsOfNode = 1024

// beyond are those pods, the youngest, that their node has too many of, by name. Each
// such node is told.
func beyond(pods map[string]podFacts) (left map[string]bool, problems []keymgr.Problem) {
	count := make(map[string]int)
	for _, p := range pods {
		count[p.node]++
	}
	crowds := make(map[string][]string)
	for name, p := range pods {
		if count[p.node] > maxPodsOfNode {
			crowds[p.node] = append(crowds[p.node], name)
		}
	}
	left = make(map[string]bool)
	for node, names := range crowds {
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(pods[a].created.Compare(pods[b].created), cmp.Compare(a, b))
		})
		for _, name := range names[maxPodsOfNode:] {
			left[name] = true
		}
		// Without their number: it may change with each pod, and every node writes this.
		problems = append(problems, keymgr.Problem{Node: node, Record: "nodes/" + node, Message: fmt.Sprintf(
			"more than %d pods have addresses on this node; the youngest of them are not used as its pods, and are cut off from other nodes; look who makes them: "+
				"kubectl get pods -A --field-selector spec.nodeName=%s --sort-by .metadata.creationTimestamp", maxPodsOfNode, node)})
	}
	return left, problems
}

// claim is one pod's claim of one address.
type claim struct {
	ip   netip.Addr
	name string // of the pod, with its namespace
	pod  podFacts
}

// precedes orders claims by address, and those of one address by who has it: a pod
// that is not being deleted before one that is, one of the node that had it before
// others, the older before the younger. The age comes after what was seen: a kubelet
// says what addresses its pods have, and one that was taken over would give a pod of
// long ago that of another node's.
func precedes(a, b claim, had map[netip.Addr]string) int {
	after := func(yes bool) int {
		if yes {
			return 1
		}
		return 0
	}
	holder, known := had[a.ip]
	return cmp.Or(a.ip.Compare(b.ip), cmp.Compare(after(a.pod.ending), after(b.pod.ending)),
		cmp.Compare(after(known && a.pod.node != holder), after(known && b.pod.node != holder)),
		a.pod.created.Compare(b.pod.created), cmp.Compare(a.name, b.name))
}

// prefixesOfPods returns each node's pods as prefixes of single addresses, sorted; had
// says which node had an address before. An address that two pods have, both there
// to stay, is told, and so is what beyond leaves out.
func prefixesOfPods(pods map[string]podFacts, had map[netip.Addr]string) (map[string][]netip.Prefix, []keymgr.Problem) {
	left, problems := beyond(pods)
	claims := make([]claim, 0, len(pods))
	for name, p := range pods {
		if left[name] {
			continue
		}
		for _, ip := range p.ips {
			claims = append(claims, claim{ip, name, p})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int { return precedes(a, b, had) })
	prefixes := make(map[string][]netip.Prefix)
	for i, c := range claims {
		if i == 0 || claims[i-1].ip != c.ip {
			prefixes[c.pod.node] = append(prefixes[c.pod.node], netip.PrefixFrom(c.ip, c.ip.BitLen()))
			continue
		}
		holder := claims[i-1]
		if c.pod.ending || holder.pod.node == c.pod.node {
			claims[i] = holder // for a third one
			continue
		}
		problems = append(problems, keymgr.Problem{Node: c.pod.node, Record: "pods/" + c.name, Warning: true, Message: fmt.Sprintf(
			"pod address %s of node %s is also that of pod %s on node %s, which has it; delete one of the two pods",
			c.ip, c.pod.node, holder.name, holder.pod.node)})
		claims[i] = holder
	}
	return prefixes, problems
}

// prefixesOfNode reads a Node's own prefixes. What makes no sense is left out and
// told.
func prefixesOfNode(name string, podCIDRs []string) ([]netip.Prefix, []keymgr.Problem) {
	var prefixes []netip.Prefix
	var problems []keymgr.Problem
	tell := func(format string, args ...any) {
		problems = append(problems, keymgr.Problem{Node: name, Record: "nodes/" + name, Message: "spec.podCIDRs: " + fmt.Sprintf(format, args...)})
	}
	for _, s := range podCIDRs {
		p, err := keymgr.ParsePodCIDR(s)
		if err != nil {
			tell("%v; it is not used", err)
			continue
		}
		if i := slices.IndexFunc(prefixes, p.Overlaps); i >= 0 {
			tell("%s overlaps %s of the same Node; it is not used", p, prefixes[i])
			continue
		}
		prefixes = append(prefixes, p)
	}
	slices.SortFunc(prefixes, comparePrefixes)
	return prefixes, problems
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
