package steering

import (
	"cmp"
	"net/netip"
	"slices"
)

// address is a global unicast address of a device.
type address struct {
	device int
	addr   netip.Addr
}

// facts are what Discover tells of a network.
func (n network) facts(addresses []address, endpoints []netip.Addr, devices []string) Facts {
	var facts Facts
	facts.Uplinks = n.find(sought{endpoints: endpoints, named: devices}).uplinks()
	facts.DefaultAddresses = slices.Concat(
		n.defaultAddresses(addresses, true), n.defaultAddresses(addresses, false))
	return facts
}

// defaultAddresses are those on the devices of one family's default routes; the
// preferred route's first, then in the order of the device.
func (n network) defaultAddresses(addresses []address, is4 bool) []netip.Addr {
	var defaults []route
	for _, r := range n.routes {
		if r.dst.Bits() == 0 && r.dst.Addr().Is4() == is4 {
			defaults = append(defaults, r)
		}
	}
	slices.SortStableFunc(defaults, func(a, b route) int { return cmp.Compare(a.metric, b.metric) })
	var found []netip.Addr
	for _, r := range defaults {
		for _, a := range addresses {
			if a.device == r.device && a.addr.Is4() == is4 && !slices.Contains(found, a.addr) {
				found = append(found, a.addr)
			}
		}
	}
	return found
}
