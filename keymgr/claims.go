package keymgr

import (
	"cmp"
	"fmt"
	"slices"
)

// Claims are the nodes that were programmed as peers, each as it was then: the
// holders of their keys, pod CIDRs and addresses. This node itself is among them
// where its source told of it (Local): by its name, without a key. The zero value
// is no history.
type Claims struct {
	Nodes []Node // sorted by name; without overlap, unless the file was made by hand
}

// ClaimsOf returns the claims to remember once accepted, the result of
// Resolve, is programmed. A node that is not among them has released its own.
func ClaimsOf(accepted []Node) Claims {
	nodes := make([]Node, len(accepted))
	for i, n := range accepted {
		nodes[i] = n.Clone()
	}
	slices.SortFunc(nodes, byName)
	return Claims{Nodes: nodes}
}

// Apart returns the node called self, the zero Node where it is not there, and the
// peers. A node without a key is this one under a name that it had: no peer.
func (c Claims) Apart(self string) (own Node, peers []Node) {
	for _, n := range c.Nodes {
		switch {
		case n.Name == self:
			own = n
		case !n.PublicKey.IsZero():
			peers = append(peers, n)
		}
	}
	return own, peers
}

func byName(a, b Node) int { return cmp.Compare(a.Name, b.Name) }

// Resolve decides which of a snapshot's nodes are programmed as peers of self.
// No two that it accepts, nor self, share a public key or have pod CIDRs, node
// IPs and endpoints in each other's way; see disputes. Its results are sorted
// by name, and depend on nothing else than its arguments.
//
// In a dispute, whoever history says had the value, and still claims it, keeps
// it, and the other record is refused: as a whole, because half a node would
// be reached by half of its pods. A known node whose record is refused stays
// as history has it; so does one whose record cannot be read. Where neither
// had the value, both records are refused, and against self every record is.
// Each refusal is a Problem.
//
// The record in self's own name is never a peer.
func Resolve(self Node, history Claims, snapshot Snapshot) (accepted []Node, problems []Problem) {
	r := newResolution(self, history, snapshot)
	for r.round() {
	}
	for _, c := range r.contenders[1:] {
		if !c.out {
			accepted = append(accepted, c.node().Clone())
		}
	}
	if p, ok := strangerInOwnName(self, snapshot.Nodes); ok {
		r.problems = append(r.problems, p)
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Compare(a.Node, b.Node) })
	return accepted, r.problems
}

// contender is a node on its way through Resolve: it begins with its record,
// may fall back to what history has of it, and then drop out.
type contender struct {
	record Node
	past   *Node // nil without history
	fallen bool  // back to past
	out    bool
}

func (c *contender) node() Node {
	if c.fallen {
		return *c.past
	}
	return c.record
}

// had reports whether history gives the contender what it claims by v.
func (c *contender) had(v value) bool {
	return c.past != nil && v.heldBy(*c.past)
}

// lose makes the contender fall back, or drop out where it has nothing to fall
// back to.
func (c *contender) lose() {
	if c.past == nil || c.fallen || c.past.Equal(c.record) {
		c.out = true
		return
	}
	c.fallen = true
}

// resolution is the state of Resolve. contenders[0] is self; the others are
// sorted by name.
type resolution struct {
	contenders []*contender
	problems   []Problem
	told       map[refusal]bool
}

// refusal is what one Problem is enough for: two nodes may be in each other's
// way with a thousand prefixes.
type refusal struct {
	loser, winner string
	fallen        bool
}

func newResolution(self Node, history Claims, snapshot Snapshot) *resolution {
	past := make(map[string]*Node, len(history.Nodes))
	for i := range history.Nodes {
		past[history.Nodes[i].Name] = &history.Nodes[i]
	}
	r := &resolution{contenders: []*contender{{record: self, past: &self}}, told: make(map[refusal]bool)}
	present := map[string]bool{self.Name: true}
	add := func(n Node) {
		if !present[n.Name] {
			present[n.Name] = true
			r.contenders = append(r.contenders, &contender{record: n, past: past[n.Name]})
		}
	}
	for _, n := range snapshot.Nodes {
		add(n)
	}
	for _, n := range history.Nodes {
		_, unusable := slices.BinarySearch(snapshot.Unusable, n.Name)
		if snapshot.Partial || unusable {
			add(n)
		}
	}
	slices.SortStableFunc(r.contenders[1:], func(a, b *contender) int { return byName(a.record, b.record) })
	return r
}

// round settles all disputes between the contenders as they are now, at once,
// so that their order does not matter. It reports whether somebody lost, which
// may open a dispute with what the loser fell back to. As nobody ever rises,
// there are at most two rounds for each contender.
func (r *resolution) round() bool {
	lost := make(map[*contender]bool)
	for _, d := range disputes(r.contenders) {
		self, a, b := r.contenders[0], r.contenders[d.a], r.contenders[d.b]
		aHad, bHad := a.had(d.aValue), b.had(d.bValue)
		switch {
		case a == self:
			r.refuse(b, d.bValue, a, d.aValue, "which is this node itself")
			lost[b] = true
		case aHad && !bHad:
			r.refuse(b, d.bValue, a, d.aValue, "which had it before")
			lost[b] = true
		case bHad && !aHad:
			r.refuse(a, d.aValue, b, d.bValue, "which had it before")
			lost[a] = true
		default:
			r.refuse(a, d.aValue, b, d.bValue, "and nothing says who had it first, so neither is used")
			r.refuse(b, d.bValue, a, d.aValue, "and nothing says who had it first, so neither is used")
			lost[a], lost[b] = true, true
		}
	}
	for c := range lost {
		c.lose()
	}
	return len(lost) > 0
}

func (r *resolution) refuse(loser *contender, lost value, winner *contender, held value, why string) {
	node, other := loser.node(), winner.node()
	key := refusal{node.Name, other.Name, loser.fallen}
	if r.told[key] {
		return
	}
	r.told[key] = true
	outcome := "is not programmed"
	if loser.past != nil && !loser.fallen && !loser.past.Equal(loser.record) {
		outcome = "stays as it was before"
	}
	r.problems = append(r.problems, Problem{
		Node:   node.Name,
		Record: node.Record,
		Message: fmt.Sprintf("%s of node %s %s node %s, %s: node %s %s. %s into the record that is wrong, or remove that record",
			lost, node.Name, relation(lost, held), other.Name, why, node.Name, outcome, lost.remedy()),
	})
}

// strangerInOwnName notices a second host that goes by this node's name. While
// a key is being rotated, the record lags behind for a moment.
func strangerInOwnName(self Node, nodes []Node) (Problem, bool) {
	for _, n := range nodes {
		if n.Name == self.Name && n.PublicKey != self.PublicKey {
			return Problem{Node: n.Name, Record: n.Record, Message: fmt.Sprintf(
				"the record of node %s, this node's own name, has public key %s, and this node's is %s; if another host uses that name, give one of them another",
				n.Name, n.PublicKey, self.PublicKey)}, true
		}
	}
	return Problem{}, false
}
