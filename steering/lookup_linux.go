package steering

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// readRoutes asks the kernel where the packet goes, and lists our routes.
func (s *scene) readRoutes(o Options, source, destination netip.Addr) error {
	ours, err := host{o.RouteProtocol, o.RouteTable}.ourRoutes()
	if err != nil {
		return err
	}
	for _, r := range ours {
		if match, ok := prefixOf(r.Dst); ok {
			s.ours = append(s.ours, ownedRoute{match, r.Type == unix.RTN_UNREACHABLE})
		}
	}
	found, err := lookUpRoute(source, destination)
	if err != nil {
		return err
	}
	s.route = Route{Type: routeType(found.Type), Ours: uint8(found.Protocol) == o.RouteProtocol}
	s.route.Match, _ = prefixOf(found.Dst)
	if found.Type != unix.RTN_UNICAST && found.Type != unix.RTN_LOCAL {
		return nil
	}
	if gateway, ok := netip.AddrFromSlice(found.Gw); ok {
		s.route.Gateway = gateway.Unmap()
	}
	l, err := netlink.LinkByIndex(found.LinkIndex)
	if err != nil {
		return fmt.Errorf("find the device of the route to %v: %w", destination, err)
	}
	s.route.Device = l.Attrs().Name
	s.out = device{index: found.LinkIndex, name: l.Attrs().Name, mtu: l.Attrs().MTU}
	return nil
}

// lookUpRoute is the route that a packet takes: the kernel's entry and next hop.
// One from a pod is looked up as one that came in from there, since rules and
// tables may tell the difference.
func lookUpRoute(source, destination netip.Addr) (netlink.Route, error) {
	options := &netlink.RouteGetOptions{SrcAddr: source.AsSlice()}
	back, err := netlink.RouteGet(source.AsSlice())
	if err == nil && len(back) > 0 && back[0].Type != unix.RTN_LOCAL {
		options.IifIndex = back[0].LinkIndex
	}
	found, err := routeGet(destination, options)
	if err != nil || found.Type != unix.RTN_UNICAST && found.Type != unix.RTN_LOCAL {
		// Not from there, be it for its reverse path: then as the node's own.
		plain, perr := routeGet(destination, &netlink.RouteGetOptions{})
		if perr != nil {
			return plain, fmt.Errorf("look up the route to %v: %w", destination, perr)
		}
		return plain, nil
	}
	return found, nil
}

// routeGet asks for the next hop, and for the entry that it is of.
func routeGet(destination netip.Addr, options *netlink.RouteGetOptions) (netlink.Route, error) {
	hops, err := netlink.RouteGetWithOptions(destination.AsSlice(), options)
	refused := map[error]int{
		unix.EHOSTUNREACH: unix.RTN_UNREACHABLE, unix.EACCES: unix.RTN_PROHIBIT,
		unix.EINVAL: unix.RTN_BLACKHOLE, unix.ENETUNREACH: unix.RTN_UNSPEC,
	}
	for errno, kind := range refused {
		if errors.Is(err, errno) {
			return netlink.Route{Type: kind}, nil
		}
	}
	if err != nil || len(hops) == 0 {
		return netlink.Route{}, errors.Join(err, errors.New("the kernel names none"))
	}
	hop := hops[0]
	options.FIBMatch = true
	if entries, err := netlink.RouteGetWithOptions(destination.AsSlice(), options); err == nil && len(entries) > 0 {
		hop.Dst, hop.Protocol = entries[0].Dst, entries[0].Protocol
	}
	return hop, nil
}

// routeType names a type as ip-route(8) does.
func routeType(kind int) string {
	switch kind {
	case unix.RTN_UNICAST:
		return "unicast"
	case unix.RTN_LOCAL:
		return "local"
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	case unix.RTN_PROHIBIT:
		return "prohibit"
	case unix.RTN_BLACKHOLE:
		return "blackhole"
	case unix.RTN_UNSPEC:
		return "none"
	}
	return fmt.Sprintf("type %d", kind)
}
