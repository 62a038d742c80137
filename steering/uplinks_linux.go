package steering

import "net/netip"

// Uplinks are the devices by which packets leave this node or come to it, as
// routes have it now: those that lead to the endpoints, to the peers and pods
// that the pins know of, and the default routes' ones, whether the configuration
// has them steered or not; also those of the given names. Left out are overlay
// devices, since what they send leaves by an uplink, and what cannot be steered,
// since it carries this node's pods too. Sorted by name.
func Uplinks(options Options, endpoints []netip.Addr, names []string) ([]Device, error) {
	o, err := options.validated()
	if err != nil {
		return nil, err
	}
	n, err := readNetwork(o.RouteProtocol)
	if err != nil {
		return nil, err
	}
	want, err := pinnedSought(o)
	if err != nil {
		return nil, err
	}
	want.endpoints = append(want.endpoints, endpoints...)
	return n.uplinks(want, names), nil
}
