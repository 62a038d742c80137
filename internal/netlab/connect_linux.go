package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// connect gives a node, in which it is called, the way to the other nodes' pods.
func (l *Lab) connect(n *Node, uplink netlink.Link) error {
	switch l.options.CNI {
	case DefaultRoute:
		return nil // the gateway knows: routeGateway
	case VXLAN:
		return l.connectVXLAN(n, uplink)
	case IPIP:
		return l.connectIPIP(n)
	}
	return l.eachRemoteCIDR(n, func(other *Node, i int) error {
		return addRoute(uplink, other.PodCIDRs[i], other.IPs[i])
	})
}

// eachRemoteCIDR calls fn for the i-th pod CIDR of each other node.
func (l *Lab) eachRemoteCIDR(n *Node, fn func(other *Node, i int) error) error {
	for _, other := range l.Nodes {
		if other == n {
			continue
		}
		for i := range other.PodCIDRs {
			if err := fn(other, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// routeGateway tells the underlay's gateway where pods are. It is called in the
// underlay's namespace.
func (l *Lab) routeGateway(at netlink.Link) error {
	// Else it would tell pods of the shorter way, in packets that quote theirs.
	if err := sysctls([2]string{"ipv4/conf/all/send_redirects", "0"}, [2]string{"ipv4/conf/" + at.Attrs().Name + "/send_redirects", "0"}); err != nil {
		return err
	}
	return l.eachRemoteCIDR(nil, func(n *Node, i int) error { return addRoute(at, n.PodCIDRs[i], n.IPs[i]) })
}

// The VXLAN network is laid as flannel does: one device, whose neighbours and
// forwarding entries are written down for each other node.
const (
	vxlanName = "vxlan1"
	vxlanID   = 1
	vxlanPort = 8472 // Linux's own default, from before there was a standard
)

func (l *Lab) connectVXLAN(n *Node, uplink netlink.Link) error {
	vxlan := &netlink.Vxlan{
		LinkAttrs:    attrs(vxlanName, l.options.MTU-VXLAN.overhead(l.Families)),
		VxlanId:      vxlanID,
		VtepDevIndex: uplink.Attrs().Index,
		SrcAddr:      n.IPs[0].AsSlice(),
		Port:         vxlanPort,
	}
	vxlan.HardwareAddr = vxlanMAC(n)
	if err := addTunnel(vxlan, VXLAN); err != nil {
		return err
	}
	var own []netip.Prefix
	for _, cidr := range n.PodCIDRs {
		own = append(own, alone(overlayAddr(cidr)))
	}
	if err := bringUp(vxlan, own...); err != nil {
		return err
	}
	for _, other := range l.Nodes {
		if other == n {
			continue
		}
		entry := &netlink.Neigh{LinkIndex: vxlan.Index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT,
			Flags: netlink.NTF_SELF, IP: other.IPs[0].AsSlice(), HardwareAddr: vxlanMAC(other)}
		if err := netlink.NeighSet(entry); err != nil {
			return fmt.Errorf("tell %s where %s is: %w", vxlanName, other.Name, err)
		}
	}
	return l.eachRemoteCIDR(n, func(other *Node, i int) error {
		via := overlayAddr(other.PodCIDRs[i])
		neighbour := &netlink.Neigh{LinkIndex: vxlan.Index, State: netlink.NUD_PERMANENT, IP: via.AsSlice(), HardwareAddr: vxlanMAC(other)}
		if err := netlink.NeighSet(neighbour); err != nil {
			return fmt.Errorf("add neighbour %s on %s: %w", via, vxlanName, err)
		}
		return addRoute(vxlan, other.PodCIDRs[i], via)
	})
}

// overlayAddr is the address of a node's vxlan, ipip or sit device: no pod has it,
// and the node's own packets to other nodes' pods come from it. Without, those
// through a sit device would come from ::192.0.2.1, which is nobody's.
func overlayAddr(cidr netip.Prefix) netip.Addr { return host(cidr, 0) }

// vxlanMAC is the address of a node's vxlan device: a locally administered one.
func vxlanMAC(n *Node) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0, 0, 0, 0, byte(n.number + 1)}
}

// connectIPIP makes a device for each family, without a fixed other end: the
// route's gateway is the other node. Calico does so for IPv4; a sit device takes
// the node's IPv4 address from the end of an IPv6 gateway (RFC 4291, 2.5.5.1).
func (l *Lab) connectIPIP(n *Node) error {
	local, mtu := n.IPs[0].AsSlice(), l.options.MTU-IPIP.overhead(l.Families)
	devices := map[int]netlink.Link{
		4: &netlink.Iptun{LinkAttrs: attrs("ipip1", mtu), Local: local},
		6: &netlink.Sittun{LinkAttrs: attrs("sit1", mtu), Local: local},
	}
	for i, f := range l.Families {
		if err := addTunnel(devices[f], IPIP); err != nil {
			return err
		}
		if err := bringUp(devices[f], alone(overlayAddr(n.PodCIDRs[i]))); err != nil {
			return err
		}
	}
	return l.eachRemoteCIDR(n, func(other *Node, i int) error {
		via, f := other.IPs[0], family(other.PodCIDRs[i].Addr())
		if f == 6 {
			v4 := via.As4()
			via = netip.AddrFrom16([16]byte{12: v4[0], v4[1], v4[2], v4[3]})
		}
		return addRoute(devices[f], other.PodCIDRs[i], via)
	})
}

func addTunnel(link netlink.Link, of CNI) error {
	return addKind(link, fmt.Sprintf("by which the CNI network %s reaches other nodes' pods", of))
}

// addKind adds a device of a kind that not every kernel has. Its error is
// errors.ErrUnsupported where this one has not; whom says for whom it is.
func addKind(link netlink.Link, whom string) error {
	err := netlink.LinkAdd(link)
	name, kind := link.Attrs().Name, link.Type()
	if errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("add %s: this kernel has no %s devices, %s: load the kernel module for them, or choose another (%w)", name, kind, whom, err)
	}
	if err != nil {
		return fmt.Errorf("add %s device %s: %w", kind, name, err)
	}
	return nil
}
