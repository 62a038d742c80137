package steering

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// families of all that is listed by family.
var families = [...]int{unix.AF_INET, unix.AF_INET6}

// readNetwork reads devices and routes of this network namespace. Routes of our
// protocol are left out.
func readNetwork(protocol uint8) (network, error) {
	var n network
	links, err := dump(netlink.LinkList)
	if err != nil {
		return n, fmt.Errorf("list the network devices: %w", err)
	}
	for _, l := range links {
		a := l.Attrs()
		n.devices = append(n.devices, device{
			index: a.Index, master: a.MasterIndex, parent: a.ParentIndex,
			name: a.Name, kind: l.Type(), mtu: a.MTU, linkLayer: a.EncapType,
			loopback: a.Flags&net.FlagLoopback != 0, functions: len(a.Vfs),
		})
	}
	routes, err := listRoutes()
	if err != nil {
		return n, err
	}
	for _, r := range routes {
		if r.Type != unix.RTN_UNICAST || r.Table == unix.RT_TABLE_LOCAL || uint8(r.Protocol) == protocol {
			continue
		}
		dst, ok := prefixOf(r.Dst)
		if !ok {
			continue
		}
		hop := route{dst: dst, device: r.LinkIndex, table: r.Table, gateway: r.Gw != nil || r.Via != nil, metric: uint32(r.Priority)}
		if len(r.MultiPath) == 0 {
			n.routes = append(n.routes, hop)
		}
		for _, m := range r.MultiPath {
			hop.device, hop.gateway = m.LinkIndex, m.Gw != nil || m.Via != nil
			n.routes = append(n.routes, hop)
		}
	}
	return n, nil
}

// listRoutes lists the routes of all tables and both families.
func listRoutes() ([]netlink.Route, error) {
	var all []netlink.Route
	for _, family := range families {
		routes, err := dump(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list the routes: %w", err)
		}
		all = append(all, routes...)
	}
	return all, nil
}

// dumpTries bounds how often a listing is repeated that the kernel says was
// changed under our hands.
const dumpTries = 10

// dump repeats a listing until it is of one moment.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	runtime.Gosched() // packets go first
	for range dumpTries - 1 {
		found, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return found, err
		}
	}
	return list()
}

// prefixOf is n as a prefix, IPv4 as IPv4.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, bits := n.Mask.Size()
	if bits == 32 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, ones), true
}

// ipNet is p as the netlink library wants it.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
