package netlab

import (
	"fmt"
	"slices"
	"strings"
)

// CNI says how a lab's nodes give their pods a network: how a pod hangs on its
// node, and how nodes reach each other's pods. Each is IPv4 and IPv6.
type CNI string

// The networks.
const (
	// Bridge: pods hang on a bridge cni0; a route for each other node's pods leads
	// to that node's address on the underlay ("host-gw").
	Bridge CNI = "bridge"
	// Routes: a veth and a host route for each pod, no bridge; between nodes as
	// Bridge.
	Routes CNI = "routes"
	// VXLAN: pods as in Bridge; routes to other nodes' pods lead into a vxlan
	// device, which puts frames into the nodes' UDP datagrams.
	VXLAN CNI = "vxlan"
	// IPIP: a veth and a host route for each pod; routes to other nodes' pods lead
	// into devices that put IPv4 (ipip) and IPv6 (sit) packets into the nodes'
	// IPv4 packets.
	IPIP CNI = "ipip"
	// DefaultRoute: pods as in Bridge; nodes know the way to no other node's pods
	// but their default route. The underlay's gateway knows it, as in a cloud.
	DefaultRoute CNI = "default-route"
	// PluginBridge and PluginPTP: pods are connected by the plugins bridge and ptp
	// of github.com/containernetworking/plugins, which this machine needs, with
	// addresses from host-local; between nodes as Bridge.
	PluginBridge CNI = "plugin-bridge"
	PluginPTP    CNI = "plugin-ptp"
	// PluginBridgeMasq and PluginPTPMasq: as these, with ipMasq: what leaves a
	// node's own pods' network, and be it for another node's pods, has the node's
	// address as source.
	PluginBridgeMasq CNI = "plugin-bridge-masq"
	PluginPTPMasq    CNI = "plugin-ptp-masq"
)

// CNIs are all the networks there are.
func CNIs() []CNI {
	return []CNI{Bridge, Routes, VXLAN, IPIP, DefaultRoute, PluginBridge, PluginPTP, PluginBridgeMasq, PluginPTPMasq}
}

// overhead is what the network adds to a pod's packet on the underlay, in bytes.
func (c CNI) overhead(families []int) int {
	switch c {
	case VXLAN: // Ethernet 14, VXLAN 8, UDP 8, and the outer IP header
		if slices.Contains(families, 4) {
			return 14 + 8 + 8 + 20
		}
		return 14 + 8 + 8 + 40
	case IPIP:
		return 20
	}
	return 0
}

// bridged tells whether pods hang on a bridge.
func (c CNI) bridged() bool { return c != Routes && c != IPIP && c.plugin() != "ptp" }

// Masquerades tells whether other nodes see a pod by its node's address.
func (c CNI) Masquerades() bool { return c == PluginBridgeMasq || c == PluginPTPMasq }

// plugin is the plugin that connects pods, "" if it is the lab itself.
func (c CNI) plugin() string {
	switch c {
	case PluginBridge, PluginBridgeMasq:
		return "bridge"
	case PluginPTP, PluginPTPMasq:
		return "ptp"
	}
	return ""
}

// Uplink says what of a node carries its addresses on the underlay.
type Uplink string

// The uplinks.
const (
	UplinkPlain  Uplink = ""       // eth0
	UplinkBridge Uplink = "bridge" // a bridge br-ex, with eth0 as port
	UplinkBond   Uplink = "bond"   // a bond bond0 of eth0 alone
	UplinkVLAN   Uplink = "vlan"   // eth0.100: all frames on the underlay are tagged
)

// Device is the name of the uplink's device.
func (u Uplink) Device() string {
	return map[Uplink]string{UplinkPlain: "eth0", UplinkBridge: "br-ex", UplinkBond: "bond0", UplinkVLAN: "eth0.100"}[u]
}

func (c CNI) validate(families []int) error {
	if !slices.Contains(CNIs(), c) {
		var names []string
		for _, c := range CNIs() {
			names = append(names, string(c))
		}
		return fmt.Errorf("CNI network %q: want one of %s", c, strings.Join(names, ", "))
	}
	if c == IPIP && !slices.Contains(families, 4) {
		return fmt.Errorf("CNI network %s, families %v: its outer packets are IPv4, so family 4 is needed", c, families)
	}
	return nil
}
