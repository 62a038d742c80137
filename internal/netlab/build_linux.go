package netlab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// build makes the namespaces and what connects them.
func (l *Lab) build(ctx context.Context) error {
	if err := shareNetnsDir(); err != nil {
		return err
	}
	if err := l.makeNamespace(l.underlay); err != nil {
		return err
	}
	if err := l.underlay.Do(l.buildBridge); err != nil {
		return fmt.Errorf("build the underlay: %w", err)
	}
	for _, n := range l.Nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.makeNamespace(n.Namespace); err != nil {
			return err
		}
		if err := l.underlay.Do(func() error { return l.plugIn(n) }); err != nil {
			return fmt.Errorf("connect %s to the underlay: %w", n.Name, err)
		}
		if err := n.Do(func() error { return l.buildNode(ctx, n) }); err != nil {
			return fmt.Errorf("build %s: %w", n.Name, err)
		}
	}
	return l.settle(ctx)
}

// makeNamespace creates a namespace of the lab that forwards, where addresses
// are usable at once and nobody configures himself.
func (l *Lab) makeNamespace(n Namespace) error {
	if err := n.create(); err != nil {
		return err
	}
	settings := [][2]string{{"ipv4/ip_forward", "1"}}
	if slices.Contains(l.Families, 6) {
		for _, scope := range []string{"all", "default"} {
			conf := "ipv6/conf/" + scope + "/"
			settings = append(settings, [2]string{conf + "disable_ipv6", "0"}, [2]string{conf + "forwarding", "1"},
				[2]string{conf + "accept_ra", "0"}, [2]string{conf + "accept_dad", "0"})
		}
	}
	return n.Do(func() error { return sysctls(settings...) })
}

// The following are called in the namespace that they build.

func (l *Lab) buildBridge() error {
	br := &netlink.Bridge{LinkAttrs: attrs("br0", l.options.MTU)}
	if err := netlink.LinkAdd(br); err != nil {
		return fmt.Errorf("add bridge br0: %w", err)
	}
	var own []netip.Prefix
	for _, p := range l.ofFamilies(underlay4, underlay6) {
		own = append(own, netip.PrefixFrom(host(p, gatewayHost), p.Bits()))
	}
	var gateway netlink.Link = br
	if l.options.Uplink == UplinkVLAN {
		if err := bringUp(br); err != nil {
			return err
		}
		var err error
		if gateway, err = l.tagged(br); err != nil {
			return err
		}
	}
	if err := bringUp(gateway, own...); err != nil {
		return err
	}
	if l.options.CNI != DefaultRoute {
		return nil
	}
	return l.routeGateway(gateway)
}

// plugIn makes the veth between the underlay bridge and a node's eth0. The port
// carries the node's name.
func (l *Lab) plugIn(n *Node) error {
	return addPort("br0", n.Name, n.Namespace, "eth0", l.options.MTU)
}

func (l *Lab) buildNode(ctx context.Context, n *Node) error {
	var onUnderlay []netip.Prefix
	for i, p := range l.ofFamilies(underlay4, underlay6) {
		onUnderlay = append(onUnderlay, netip.PrefixFrom(n.IPs[i], p.Bits()))
	}
	uplink, err := l.buildUplink()
	if err != nil {
		return err
	}
	if err := bringUp(uplink, onUnderlay...); err != nil {
		return err
	}
	for _, p := range l.ofFamilies(underlay4, underlay6) {
		if err := addRoute(uplink, everything(p), host(p, gatewayHost)); err != nil {
			return err
		}
	}
	if err := l.connect(n, uplink); err != nil {
		return err
	}
	return l.buildPods(ctx, n)
}

// addPort adds a veth: one end a port of bridge here, the other a device there.
func addPort(bridge, port string, there Namespace, device string, mtu int) error {
	br, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", bridge, err)
	}
	veth, err := addVeth(port, there, device, mtu)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetMaster(veth, br); err != nil {
		return fmt.Errorf("make %s a port of %s: %w", port, bridge, err)
	}
	return bringUp(veth)
}

// addVeth adds a veth: one end here, the other a device there.
func addVeth(name string, there Namespace, device string, mtu int) (netlink.Link, error) {
	fd, err := unix.Open(there.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", there.Path, err)
	}
	defer unix.Close(fd)
	veth := &netlink.Veth{LinkAttrs: attrs(name, mtu), PeerName: device, PeerNamespace: netlink.NsFd(fd), PeerTxQLen: -1}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("add veth %s: %w", name, err)
	}
	return veth, nil
}

func attrs(name string, mtu int) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU = name, mtu
	return a
}

func bringUp(link netlink.Link, addrs ...netip.Prefix) error {
	name := link.Attrs().Name
	for _, a := range addrs {
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(a)}); err != nil {
			return fmt.Errorf("add address %s to %s: %w", a, name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	return nil
}

// addRoute adds a route by way of a neighbour on link; without one, to what is
// on link itself.
func addRoute(link netlink.Link, to netip.Prefix, via netip.Addr) error {
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(to)}
	if via.IsValid() {
		// The network of a tunnel device, or of a pod with a /32, does not contain
		// its neighbours.
		r.Gw, r.Flags = via.AsSlice(), int(netlink.FLAG_ONLINK)
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	if err := netlink.RouteAdd(r); err != nil {
		return fmt.Errorf("add route %s via %s dev %s: %w", to, via, link.Attrs().Name, err)
	}
	return nil
}

// everything is the default route of p's family.
func everything(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(p.Addr(), 0).Masked() }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
