package kube

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/wgsteer/wgsteer/keymgr"
)

// places say whose addresses and pods the cluster itself says they are.
type places struct {
	nodes   map[netip.Addr][]string   // whose Node has the address
	pods    map[string][]netip.Prefix // by node
	owners  map[netip.Prefix]string   // of pods
	lengths [129]bool                 // of the prefixes in owners
}

func locate(v view, had map[netip.Addr]string) (places, []keymgr.Problem) {
	w := places{nodes: make(map[netip.Addr][]string), owners: make(map[netip.Prefix]string)}
	var problems []keymgr.Problem
	for name, n := range v.nodes {
		for _, ip := range n.addresses {
			w.nodes[ip] = append(w.nodes[ip], name)
		}
	}
	if v.from == FromPods {
		w.pods, problems = prefixesOfPods(v.pods, had)
	} else {
		w.pods = make(map[string][]netip.Prefix, len(v.nodes))
		for name, n := range v.nodes {
			prefixes, wrong := prefixesOfNode(name, n.podCIDRs)
			w.pods[name] = prefixes
			problems = append(problems, wrong...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.pods)) {
		for _, p := range w.pods[name] {
			w.owners[p] = name
			w.lengths[p.Bits()] = true
		}
	}
	slices.SortFunc(problems, func(a, b keymgr.Problem) int {
		return cmp.Or(cmp.Compare(a.Record, b.Record), cmp.Compare(a.Message, b.Message))
	})
	return w, problems
}

// single are the prefixes of one address, as Pods have them.
func (w places) single() map[netip.Addr]string {
	owners := make(map[netip.Addr]string)
	for p, node := range w.owners {
		if p.IsSingleIP() {
			owners[p.Addr()] = node
		}
	}
	return owners
}

// podsAt is the node whose pods' prefix holds ip, and the prefix.
func (w places) podsAt(ip netip.Addr) (string, netip.Prefix, bool) {
	for bits := ip.BitLen(); bits >= 0 && ip.IsValid(); bits-- {
		if !w.lengths[bits] {
			continue
		}
		p, _ := ip.Prefix(bits)
		if node, ok := w.owners[p]; ok {
			return node, p, true
		}
	}
	return "", netip.Prefix{}, false
}

// own are the addresses of a record that the cluster itself says are the node's:
// what else a record names would have every node's pods send there through the
// node, be it a server of the outside world. What the Node of another has as well is
// left to keymgr.Resolve. A record with such an address is used without it: refused, it
// would stay as it was before, perhaps with the address, and then be in the way of the
// node that the address is of.
func (w places) own(n keymgr.Node) (ips []netip.Addr, problems []keymgr.Problem) {
	for i, ip := range n.NodeIPs {
		owners := w.nodes[ip]
		node, p, pods := w.podsAt(ip)
		if slices.Contains(owners, n.Name) || pods && node == n.Name { // as on the pods' own bridge
			ips = append(ips, ip)
			continue
		}
		whose := fmt.Sprintf("no address of Node %s; give it status.addresses (kubelet's --node-ip), or name others in nodeIPs there", n.Name)
		switch {
		case len(owners) > 0:
			whose = fmt.Sprintf("an address of Node %s; put the node's own address", slices.Min(owners))
		case pods:
			whose = fmt.Sprintf("within %s, pods of Node %s; put the node's own address", p, node)
		}
		problems = append(problems, keymgr.Problem{
			Node: n.Name, Record: recordName(n.Name), Warning: len(owners) == 0 && !pods,
			Message: fmt.Sprintf("spec.nodeIPs[%d]: %s is %s (the address is not used)", i, ip, whose),
		})
	}
	return ips, problems
}

// contradicts says what of a record the cluster knows better, so that it cannot be
// used. What the node's own Node has as well is left to keymgr.Resolve.
func (w places) contradicts(n keymgr.Node) []string {
	ip := n.Endpoint.Addr()
	if node, p, ok := w.podsAt(ip); ok && !slices.Contains(w.nodes[ip], n.Name) {
		return []string{fmt.Sprintf("spec.endpoints[0]: %s is within %s, pods of Node %s; the tunnel's own packets would be sent into it", n.Endpoint, p, node)}
	}
	return nil
}
