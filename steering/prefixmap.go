package steering

import (
	"net/netip"
	"slices"
)

// prefixMap finds the most specific prefix that holds another: by one look-up
// for each length that there is, of which routing tables have few.
type prefixMap[V any] struct {
	at      map[netip.Prefix]V
	lengths []int // descending; of both families
}

func (m *prefixMap[V]) put(p netip.Prefix, v V) {
	if m.at == nil {
		m.at = map[netip.Prefix]V{}
	}
	m.at[p] = v
	at, have := slices.BinarySearchFunc(m.lengths, p.Bits(), func(a, b int) int { return b - a })
	if !have {
		m.lengths = slices.Insert(m.lengths, at, p.Bits())
	}
}

// longest is the value of the longest prefix, of at most bits, that holds addr;
// the zero V if none does.
func (m *prefixMap[V]) longest(addr netip.Addr, bits int) V {
	v, _ := m.find(addr, bits)
	return v
}

func (m *prefixMap[V]) find(addr netip.Addr, bits int) (V, bool) {
	for _, length := range m.lengths {
		if length > bits {
			continue
		}
		p, err := addr.Prefix(length)
		if err != nil {
			continue // longer than the family's addresses
		}
		if v, ok := m.at[p]; ok {
			return v, true
		}
	}
	var none V
	return none, false
}

// prefixSet says whether one of its prefixes holds all of another.
type prefixSet struct{ prefixMap[struct{}] }

func setOf(prefixes []netip.Prefix) *prefixSet {
	s := &prefixSet{}
	for _, p := range prefixes {
		s.put(p, struct{}{})
	}
	return s
}

func (s *prefixSet) holds(p netip.Prefix) bool {
	_, ok := s.find(p.Addr(), p.Bits())
	return ok
}
