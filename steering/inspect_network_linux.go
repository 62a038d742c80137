package steering

import (
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// InspectNetwork lists the links, addresses, routes and rules of this network namespace.
func InspectNetwork(options Options) (found InspectedNetwork, err error) {
	o, err := options.validated()
	if err != nil {
		return found, err
	}
	links, err := dump(netlink.LinkList)
	if err != nil {
		return found, fmt.Errorf("list the network devices: %w", err)
	}
	qdiscs, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(nil) })
	if err != nil {
		return found, fmt.Errorf("list the qdiscs: %w", err)
	}
	for _, l := range cut(&found, "links", links) {
		found.Links = append(found.Links, inspectLink(l, qdiscs))
	}
	if err := found.addresses(links); err != nil {
		return found, err
	}
	routes, err := listRoutes()
	if err != nil {
		return found, err
	}
	for _, r := range cut(&found, "routes", routes) {
		found.Routes = append(found.Routes, inspectRoute(r, o.RouteProtocol)...)
	}
	for _, family := range families {
		rules, err := dump(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
		if err != nil {
			return found, fmt.Errorf("list the rules: %w", err)
		}
		for _, r := range cut(&found, "rules", rules) {
			found.Rules = append(found.Rules, r.String())
		}
	}
	return found, nil
}

// cut is the start of a list, and notes where that is not all.
func cut[T any](in *InspectedNetwork, what string, all []T) []T {
	if len(all) <= most {
		return all
	}
	in.Cut = append(in.Cut, fmt.Sprintf("%d of %d %s", most, len(all), what))
	return all[:most]
}

func (n *InspectedNetwork) addresses(links []netlink.Link) error {
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, family := range families {
		addresses, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, family) })
		if err != nil {
			return fmt.Errorf("list the addresses: %w", err)
		}
		for _, a := range cut(n, "addresses", addresses) {
			n.Addresses = append(n.Addresses, fmt.Sprintf("%s %s scope %s flags %#x", names[a.LinkIndex], a.IPNet, netlink.Scope(a.Scope), a.Flags))
		}
	}
	return nil
}

func inspectLink(l netlink.Link, qdiscs []netlink.Qdisc) InspectedLink {
	a := l.Attrs()
	seen := InspectedLink{
		Name: a.Name, Index: a.Index, Kind: l.Type(), MTU: a.MTU, Flags: a.Flags.String(), State: a.OperState.String(),
		Master: a.MasterIndex, Parent: a.ParentIndex, LinkLayer: a.EncapType, Alias: a.Alias, TxQueueLen: a.TxQLen,
	}
	for _, q := range qdiscs {
		if q.Attrs().LinkIndex == a.Index {
			seen.Qdiscs = append(seen.Qdiscs, q.Type())
		}
	}
	if s := a.Statistics; s != nil {
		seen.Counters = map[string]uint64{
			"rxPackets": s.RxPackets, "rxBytes": s.RxBytes, "rxErrors": s.RxErrors, "rxDropped": s.RxDropped,
			"txPackets": s.TxPackets, "txBytes": s.TxBytes, "txErrors": s.TxErrors, "txDropped": s.TxDropped,
		}
	}
	return seen
}

// inspectRoute has one entry for each next hop.
func inspectRoute(r netlink.Route, ours uint8) []InspectedRoute {
	one := InspectedRoute{
		Type: routeType(r.Type), Table: r.Table, Protocol: int(r.Protocol), Metric: uint32(r.Priority),
		Device: r.LinkIndex, Source: ipText(r.Src), Gateway: gatewayText(r.Gw, r.Via), MTU: r.MTU, Ours: uint8(r.Protocol) == ours,
	}
	switch r.Type {
	case unix.RTN_BROADCAST, unix.RTN_ANYCAST, unix.RTN_MULTICAST:
		return nil // the kernel makes them of addresses
	}
	if p, ok := prefixOf(r.Dst); ok {
		one.Destination = p.String()
	}
	if len(r.MultiPath) == 0 {
		return []InspectedRoute{one}
	}
	var hops []InspectedRoute
	for _, m := range r.MultiPath {
		hop := one
		hop.Device, hop.Gateway = m.LinkIndex, gatewayText(m.Gw, m.Via)
		hops = append(hops, hop)
	}
	return hops
}

func ipText(ip net.IP) string {
	if ip == nil {
		return ""
	}
	return ip.String()
}

func gatewayText(gateway net.IP, via netlink.Destination) string {
	if gateway == nil && via != nil {
		return strings.TrimSpace(via.String())
	}
	return ipText(gateway)
}
