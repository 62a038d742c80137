package steering

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// host is the part of this network namespace that is ours by a mark rather than
// by a pin: routes by their protocol, addresses by the device they are on.
type host struct {
	protocol uint8
	table    int
}

// ourRoutes lists the routes that carry our protocol number, in any table.
func (h host) ourRoutes() ([]netlink.Route, error) {
	all, err := listRoutes()
	if err != nil {
		return nil, err
	}
	var ours []netlink.Route
	for _, r := range all {
		if uint8(r.Protocol) == h.protocol {
			ours = append(ours, r)
		}
	}
	return ours, nil
}

// setRoutes makes our routes those that are wanted: first what is new or leads
// elsewhere, which it returns with whether it was absent, then it removes the rest.
// It goes on after an error, since each route counts.
func (h host) setRoutes(want map[routeKey]routeTarget) (put map[routeKey]bool, removed int, err error) {
	listed, err := h.ourRoutes()
	if err != nil {
		return nil, 0, err
	}
	put = map[routeKey]bool{}
	have := map[routeKey]routeTarget{}
	var errs []error
	var rest []netlink.Route
	for _, r := range listed {
		key, target, ok := ownRoute(r)
		if _, wanted := want[key]; ok && wanted && r.Table == h.table {
			have[key] = target
		} else {
			rest = append(rest, r)
		}
	}
	d := diff(have, want, true)
	for key, target := range d.put {
		set := netlink.RouteAdd // fails where somebody else has that route
		_, ours := have[key]
		if ours {
			set = netlink.RouteReplace
		}
		if err := set(h.route(key, target)); err != nil {
			errs = append(errs, fmt.Errorf("set the route to %v, metric %d: %w", key.dst, key.metric, err))
			continue
		}
		put[key] = !ours
	}
	for _, r := range rest {
		if err := removeRoute(r); err != nil {
			errs = append(errs, err)
			continue
		}
		removed++
	}
	return put, removed, errors.Join(errs...)
}

func removeRoute(r netlink.Route) error {
	if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove the route to %v: %w", r.Dst, err)
	}
	return nil
}

// route is one of ours as the netlink library wants it.
func (h host) route(key routeKey, target routeTarget) *netlink.Route {
	r := &netlink.Route{
		Dst:      ipNet(key.dst),
		Priority: int(key.metric),
		Protocol: netlink.RouteProtocol(h.protocol),
		Table:    h.table,
		Type:     unix.RTN_UNREACHABLE,
	}
	if target == (routeTarget{}) {
		return r
	}
	r.Type = unix.RTN_UNICAST
	r.LinkIndex = target.device
	r.Scope = netlink.SCOPE_LINK
	if target.source.IsValid() {
		r.Src = target.source.AsSlice()
	}
	return r
}

// ownRoute is the reverse of route.
func ownRoute(r netlink.Route) (routeKey, routeTarget, bool) {
	dst, ok := prefixOf(r.Dst)
	key := routeKey{dst, uint32(r.Priority)}
	if !ok || r.Type == unix.RTN_UNREACHABLE {
		return key, routeTarget{}, ok // IPv6 shows it on lo
	}
	source, _ := netip.AddrFromSlice(r.Src)
	return key, routeTarget{r.LinkIndex, source.Unmap()}, true
}

// routeEvent is what m tells of a route of ours; false for any other message.
func (h host) routeEvent(m syscall.NetlinkMessage) (routeEvent, bool) {
	gone := m.Header.Type == unix.RTM_DELROUTE
	if !gone && m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg {
		return routeEvent{}, false
	}
	head := nl.DeserializeRtMsg(m.Data)
	attributes, err := nl.ParseRouteAttr(m.Data[unix.SizeofRtMsg:])
	if err != nil || head.Protocol != h.protocol {
		return routeEvent{}, false
	}
	r := netlink.Route{Type: int(head.Type), Table: int(head.Table)}
	for _, a := range attributes {
		switch {
		case a.Attr.Type == unix.RTA_DST:
			r.Dst = &net.IPNet{IP: a.Value, Mask: net.CIDRMask(int(head.Dst_len), 8*len(a.Value))}
		case a.Attr.Type == unix.RTA_PREFSRC:
			r.Src = a.Value
		case len(a.Value) != 4:
		case a.Attr.Type == unix.RTA_OIF:
			r.LinkIndex = int(binary.NativeEndian.Uint32(a.Value))
		case a.Attr.Type == unix.RTA_PRIORITY:
			r.Priority = int(binary.NativeEndian.Uint32(a.Value))
		case a.Attr.Type == unix.RTA_TABLE:
			r.Table = int(binary.NativeEndian.Uint32(a.Value))
		}
	}
	key, target, ok := ownRoute(r)
	return routeEvent{key, target, gone}, ok && r.Table == h.table
}

// isOurs tells an address that we put on the tunnel device: a single one without
// a route to its prefix. The kernel's own link-local is not such.
func isOurs(a netlink.Addr) bool {
	p, ok := prefixOf(a.IPNet)
	return ok && p.IsSingleIP() && a.Flags&unix.IFA_F_NOPREFIXROUTE != 0
}

func listAddresses(index int) ([]netlink.Addr, error) {
	all, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(deviceOf(index), unix.AF_UNSPEC) })
	if err != nil {
		return nil, fmt.Errorf("list the addresses of device %d: %w", index, err)
	}
	return all, nil
}

// setAddresses makes our addresses on the tunnel device those that are wanted, and
// returns the new ones.
func setAddresses(index int, want map[netip.Prefix]bool) (put map[netip.Prefix]bool, removed int, err error) {
	listed, err := listAddresses(index)
	if err != nil {
		return nil, 0, err
	}
	put = map[netip.Prefix]bool{}
	have := map[netip.Prefix]bool{}
	var rest []netlink.Addr
	for _, a := range listed {
		if p, ok := prefixOf(a.IPNet); ok && want[p] {
			have[p] = true
		} else if isOurs(a) {
			rest = append(rest, a)
		}
	}
	var errs []error
	for p := range diff(have, want, true).put {
		// Without a prefix route, which would take the node's own address from its
		// uplink, and without duplicate address detection, for it is a duplicate.
		a := &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(deviceOf(index), a); err != nil {
			errs = append(errs, fmt.Errorf("put address %v on device %d: %w", p, index, err))
			continue
		}
		put[p] = true
	}
	for _, a := range rest {
		if err := removeAddress(index, a); err != nil {
			errs = append(errs, err)
			continue
		}
		removed++
	}
	return put, removed, errors.Join(errs...)
}

func removeAddress(index int, a netlink.Addr) error {
	if err := netlink.AddrDel(deviceOf(index), &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove address %v from device %d: %w", a.IPNet, index, err)
	}
	return nil
}
