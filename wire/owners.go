package wire

import (
	"net/netip"
	"slices"
)

// Cluster says whose addresses are whose.
type Cluster struct {
	Nodes []Node
	// Pods hold pods of nodes that are not among Nodes: what is in here and in no
	// node's PodCIDRs belongs to a node unknown.
	Pods []netip.Prefix
	// NodeCIDRs hold addresses of nodes; one that none of Nodes has belongs to a node
	// unknown.
	NodeCIDRs []netip.Prefix
	// Ports are the UDP ports on which the nodes' tunnels listen.
	Ports []uint16
	// VXLAN and Geneve are UDP ports on which those are looked into, beside the
	// usual ones: 4789 and 8472, and 6081.
	VXLAN, Geneve []uint16
}

// Node is one node's addresses and its pods'.
type Node struct {
	IPs      []netip.Addr
	PodCIDRs []netip.Prefix
}

// unknown is the number of a node that is not among the Cluster's.
const unknown = -1

// owners finds the node of an address, by its number.
type owners struct {
	nodes   map[netip.Addr]int
	pods    map[netip.Prefix]int
	lengths []int          // of the prefixes in pods, the longest first
	within  []netip.Prefix // addresses of nodes, known or not
}

func newOwners(c Cluster) owners {
	o := owners{nodes: map[netip.Addr]int{}, pods: map[netip.Prefix]int{}, within: c.NodeCIDRs}
	for _, p := range c.Pods {
		o.put(p, unknown)
	}
	for i, n := range c.Nodes {
		for _, ip := range n.IPs {
			o.nodes[ip.Unmap()] = i
		}
		for _, p := range n.PodCIDRs {
			o.put(p, i)
		}
	}
	slices.SortFunc(o.lengths, func(a, b int) int { return b - a })
	return o
}

func (o *owners) put(p netip.Prefix, node int) {
	o.pods[p.Masked()] = node
	if !slices.Contains(o.lengths, p.Bits()) {
		o.lengths = append(o.lengths, p.Bits())
	}
}

// pod is the number of the node whose pod has the address: the most specific
// prefix counts.
func (o *owners) pod(ip netip.Addr) (node int, ok bool) {
	for _, bits := range o.lengths {
		p, err := ip.Prefix(bits)
		if err != nil {
			continue // longer than addresses of this family
		}
		if node, ok = o.pods[p]; ok {
			return node, true
		}
	}
	return 0, false
}

// node is the number of the node that has the address.
func (o *owners) node(ip netip.Addr) (node int, ok bool) {
	if node, ok = o.nodes[ip]; ok {
		return node, true
	}
	return unknown, slices.ContainsFunc(o.within, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// between judges a packet by its addresses alone.
func (o *owners) between(from, to netip.Addr) Class {
	fromPod, fromIsPod := o.pod(from)
	toPod, toIsPod := o.pod(to)
	fromNode, fromIsNode := o.node(from)
	toNode, toIsNode := o.node(to)
	switch {
	case fromIsPod && toIsPod && apart(fromPod, toPod):
		return PlaintextPod
	case fromIsPod && toIsNode && apart(fromPod, toNode), fromIsNode && toIsPod && apart(fromNode, toPod):
		return PlaintextPodNode
	}
	return Other
}

// apart says whether two nodes are, or may be, two.
func apart(a, b int) bool { return a != b || a == unknown }
