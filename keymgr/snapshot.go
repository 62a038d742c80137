package keymgr

import "slices"

// Equal reports whether s and o tell the same, and were found in the same place.
func (s Snapshot) Equal(o Snapshot) bool {
	return s.Partial == o.Partial && s.Local.Equal(o.Local) &&
		slices.Equal(s.Unusable, o.Unusable) && slices.Equal(s.Problems, o.Problems) &&
		slices.EqualFunc(s.Nodes, o.Nodes, func(a, b Node) bool { return a.Equal(b) && a.Record == b.Record })
}

// Clone returns a copy that shares no memory with s.
func (s Snapshot) Clone() Snapshot {
	nodes := make([]Node, len(s.Nodes))
	for i, n := range s.Nodes {
		nodes[i] = n.Clone()
	}
	s.Nodes = nodes
	s.Problems = slices.Clone(s.Problems)
	s.Unusable = slices.Clone(s.Unusable)
	if s.Local != nil {
		s.Local = &Local{PodCIDRs: slices.Clone(s.Local.PodCIDRs)}
	}
	return s
}
