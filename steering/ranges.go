package steering

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/wgsteer/wgsteer/bpf"
)

// addrRange is the addresses from one to another, both included.
type addrRange struct{ from, to netip.Addr }

// rangesOf are the addresses whose class, that of the longest prefix which holds
// them, is one of those given: in order, IPv4 first, none touching the next. The
// programs look the longest prefix up; nftables refuses ranges that overlap.
func rangesOf(classes map[netip.Prefix]bpf.Class, of ...bpf.Class) []addrRange {
	var found []addrRange
	add := func(from, to netip.Addr, class bpf.Class) {
		if !slices.Contains(of, class) || !from.IsValid() || to.Less(from) {
			return
		}
		if last := len(found) - 1; last >= 0 && found[last].to.Next() == from {
			found[last].to = to
			return
		}
		found = append(found, addrRange{from, to})
	}
	var open []netip.Prefix // each within the one before
	var next netip.Addr     // the first address that is not dealt with; zero after a family's last
	// shut ends the innermost prefix.
	shut := func() {
		p := open[len(open)-1]
		open = open[:len(open)-1]
		if next.IsValid() {
			add(next, lastOf(p), classes[p])
			next = lastOf(p).Next()
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(classes), wideFirst) {
		for len(open) > 0 && !open[len(open)-1].Contains(p.Addr()) {
			shut()
		}
		if len(open) > 0 {
			outer := open[len(open)-1]
			add(next, p.Addr().Prev(), classes[outer])
		}
		open, next = append(open, p), p.Addr()
	}
	for len(open) > 0 {
		shut()
	}
	return found
}

// wideFirst orders prefixes by their first address, and a prefix before those
// within it.
func wideFirst(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}
