package keymgr

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/wgsteer/wgsteer/wgkey"
)

type valueKind int

const (
	keyValue valueKind = iota
	podValue
	nodeIPValue
	endpointValue
)

// value is one thing that a node claims.
type value struct {
	kind   valueKind
	key    wgkey.PublicKey // of a keyValue
	prefix netip.Prefix    // of the others; a single address has all its bits
}

func (v value) String() string {
	switch v.kind {
	case keyValue:
		return "public key " + v.key.String()
	case podValue:
		return "pod CIDR " + v.prefix.String()
	case nodeIPValue:
		return "node IP " + v.prefix.Addr().String()
	default:
		return "endpoint address " + v.prefix.Addr().String()
	}
}

func (v value) remedy() string {
	switch v.kind {
	case keyValue:
		return "Put the node's own public key"
	case podValue:
		return "Put the node's own pod CIDR"
	case nodeIPValue:
		return "Put the node's own address"
	default:
		return "Put an address outside all pod CIDRs"
	}
}

// relation says how a value stands to another node's, which follows.
func relation(v, other value) string {
	if v == other {
		return "is also claimed by"
	}
	return "overlaps " + other.String() + " of"
}

// heldBy reports whether n's record covers the value.
func (v value) heldBy(n Node) bool {
	switch v.kind {
	case keyValue:
		return n.PublicKey == v.key
	case podValue:
		return slices.ContainsFunc(n.PodCIDRs, func(p netip.Prefix) bool {
			return p.Overlaps(v.prefix) && p.Bits() <= v.prefix.Bits()
		})
	case nodeIPValue:
		return slices.Contains(n.NodeIPs, v.prefix.Addr())
	default:
		return n.Endpoint.Addr() == v.prefix.Addr()
	}
}

// inTheWay says which kinds of two nodes' values may not overlap. Several nodes
// may have one endpoint address (behind a NAT), also one that is a node IP; but
// an endpoint among pods would have the tunnel's own packets steered into it.
func inTheWay(a, b valueKind) bool {
	if a == endpointValue || b == endpointValue {
		return a == podValue || b == podValue
	}
	return true
}

func valuesOf(n Node) []value {
	values := make([]value, 0, len(n.PodCIDRs)+len(n.NodeIPs)+2)
	if !n.PublicKey.IsZero() {
		values = append(values, value{kind: keyValue, key: n.PublicKey})
	}
	for _, p := range n.PodCIDRs {
		values = append(values, value{kind: podValue, prefix: p})
	}
	for _, ip := range n.NodeIPs {
		values = append(values, value{kind: nodeIPValue, prefix: netip.PrefixFrom(ip, ip.BitLen())})
	}
	if ip := n.Endpoint.Addr(); ip.IsValid() {
		values = append(values, value{kind: endpointValue, prefix: netip.PrefixFrom(ip, ip.BitLen())})
	}
	return values
}

// dispute is a pair of values in each other's way; a and b index contenders,
// and a is the smaller.
type dispute struct {
	a, b           int
	aValue, bValue value
}

// claimant is who claims a value.
type claimant struct {
	index int
	value value
}

// disputes finds every pair of contenders with values in each other's way, in
// an order that depends on the contenders alone. Overlapping prefixes contain
// one another, so each prefix is looked up at every length that occurs: work
// grows with the number of values, not with its square.
func disputes(contenders []*contender) []dispute {
	keys := make(map[wgkey.PublicKey][]claimant)
	prefixes := make(map[netip.Prefix][]claimant)
	var lengths [129]bool
	var found []dispute
	for i, c := range contenders {
		if c.out {
			continue
		}
		for _, v := range valuesOf(c.node()) {
			if v.kind == keyValue {
				keys[v.key] = append(keys[v.key], claimant{i, v})
				continue
			}
			prefixes[v.prefix] = append(prefixes[v.prefix], claimant{i, v})
			lengths[v.prefix.Bits()] = true
		}
	}
	for _, same := range keys {
		found = appendPairs(found, same, same)
	}
	for p, inner := range prefixes {
		found = appendPairs(found, inner, inner)
		for bits := range p.Bits() {
			if lengths[bits] {
				outer, _ := p.Addr().Prefix(bits)
				found = appendPairs(found, inner, prefixes[outer])
			}
		}
	}
	slices.SortFunc(found, compareDisputes)
	return slices.Compact(found)
}

func appendPairs(found []dispute, some, others []claimant) []dispute {
	for _, a := range some {
		for _, b := range others {
			if a.index == b.index || !inTheWay(a.value.kind, b.value.kind) {
				continue
			}
			d := dispute{a.index, b.index, a.value, b.value}
			if d.a > d.b {
				d = dispute{b.index, a.index, b.value, a.value}
			}
			found = append(found, d)
		}
	}
	return found
}

func compareDisputes(x, y dispute) int {
	return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b),
		compareValues(x.aValue, y.aValue), compareValues(x.bValue, y.bValue))
}

func compareValues(x, y value) int {
	return cmp.Or(cmp.Compare(x.kind, y.kind), slices.Compare(x.key[:], y.key[:]),
		x.prefix.Addr().Compare(y.prefix.Addr()), cmp.Compare(x.prefix.Bits(), y.prefix.Bits()))
}
