package netlab

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// vlanID is the tag of the nodes' frames on the underlay with UplinkVLAN.
const vlanID = 100

// buildUplink makes the device that gets a node's addresses. It is called in the
// node.
func (l *Lab) buildUplink() (netlink.Link, error) {
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return nil, fmt.Errorf("find eth0: %w", err)
	}
	switch l.options.Uplink {
	case UplinkBridge:
		return l.putUnder(&netlink.Bridge{LinkAttrs: attrs("br-ex", l.options.MTU)}, eth0)
	case UplinkBond:
		bond := netlink.NewLinkBond(attrs("bond0", l.options.MTU))
		bond.Mode = netlink.BOND_MODE_ACTIVE_BACKUP // needs nothing of the other side
		return l.putUnder(bond, eth0)
	case UplinkVLAN:
		if err := bringUp(eth0); err != nil {
			return nil, err
		}
		return l.tagged(eth0)
	}
	return eth0, nil
}

// putUnder makes port a port of a new master.
func (l *Lab) putUnder(master, port netlink.Link) (netlink.Link, error) {
	if err := addUplink(master, l.options.Uplink); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetMaster(port, master); err != nil { // a bond wants it to be down
		return nil, fmt.Errorf("put %s under %s: %w", port.Attrs().Name, master.Attrs().Name, err)
	}
	return master, bringUp(port)
}

// tagged makes the device for the tagged frames of another.
func (l *Lab) tagged(parent netlink.Link) (netlink.Link, error) {
	vlan := &netlink.Vlan{LinkAttrs: attrs(fmt.Sprintf("%s.%d", parent.Attrs().Name, vlanID), l.options.MTU), VlanId: vlanID}
	vlan.ParentIndex = parent.Attrs().Index
	return vlan, addUplink(vlan, UplinkVLAN)
}

func addUplink(link netlink.Link, of Uplink) error {
	return addKind(link, fmt.Sprintf("which the uplink %s is", of))
}

// PlugIn adds a further device of a node to the underlay while the lab is up, as
// when hardware is added: it is down and has no address.
func (l *Lab) PlugIn(n *Node, device string) error {
	err := l.underlay.Do(func() error { return addPort("br0", n.Name+"-"+device, n.Namespace, device, l.options.MTU) })
	if err != nil {
		return fmt.Errorf("plug %s into %s: %w", device, n.Name, err)
	}
	return nil
}
