package steering

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// device is a network device as the kernel tells of it.
type device struct {
	index, master, parent int // parent is 0 where it has none, or is in another namespace
	name, kind            string
	mtu                   int
	linkLayer             string // as rtnetlink's ifi_type: "ether", "none", "ppp", ...
	loopback              bool
	functions             int // virtual ones (SR-IOV) that it has
}

// route is one next hop of a unicast route of any table but the local one.
// Ours are left out.
type route struct {
	dst     netip.Prefix // 0.0.0.0/0 and ::/0 are the defaults
	device  int          // index
	table   int
	gateway bool
	metric  uint32
}

// network is what a host's network says of itself.
type network struct {
	devices []device
	routes  []route
}

// sought is what devices are selected by.
type sought struct {
	endpoints       []netip.Addr
	remote, cluster []netip.Prefix // pods elsewhere; pods anywhere
	local           []netip.Prefix // pods here
	named           []string       // these alone, if any
	tunnel          string         // the tunnel device's name; never steered
	tunnelIndex     int            // and its index, 0 while there is none
}

// target is a device to steer.
type target struct {
	Device
	ethernet bool // packets have an Ethernet header
	overlay  bool
}

// sought is what s says of the devices to steer.
func (s State) sought(tunnel string) sought {
	want := sought{
		cluster: s.ClusterCIDRs, local: s.LocalPodCIDRs, named: s.Devices,
		tunnel: tunnel, tunnelIndex: s.Tunnel.Index,
	}
	for _, p := range s.Peers {
		if p.Endpoint.IsValid() {
			want.endpoints = append(want.endpoints, p.Endpoint)
		}
		want.remote = append(want.remote, p.PodCIDRs...)
	}
	return want
}

// selection is which devices to steer, sorted by name, which would have to be
// but cannot, and which names there is no device for.
type selection struct {
	targets     []target
	unsteerable []Device
	missing     []string
}

// uplinks are the devices to steer by which packets leave the node: what overlay
// devices send leaves by another.
func (s selection) uplinks() (found []Device) {
	for _, t := range s.targets {
		if !t.overlay {
			found = append(found, t.Device)
		}
	}
	return found
}

// overlayKinds are devices that put pod packets into packets of the node's.
var overlayKinds = []string{
	"vxlan", "geneve", "gre", "gretap", "erspan", "ipip", "sit",
	"ip6tnl", "ip6gre", "ip6gretap", "ip6erspan",
}

// sideKinds have addresses of their own beside their parent's.
var sideKinds = []string{"macvlan", "macvtap", "ipvlan", "ipvtap"}

// bareLayers are the link layers without a header in front of the IP packet:
// those of dev_is_mac_header_xmit (include/linux/if_arp.h), as netlink names them.
var bareLayers = []string{"ipip", "tunnel6", "sit", "gre", "unknown823", "void", "none", "unknown519", "ppp"}

// find selects the devices to steer.
func (n network) find(want sought) selection {
	reasons := n.reasons(want)
	pods := n.podCarriers(want.local)
	var sel selection
	for _, name := range want.named {
		if !slices.ContainsFunc(n.devices, func(l device) bool { return l.name == name }) {
			sel.missing = append(sel.missing, name)
		}
	}
	for _, l := range n.devices {
		why := reasons[l.index]
		if why == "" || l.loopback || l.name == want.tunnel || l.index == want.tunnelIndex {
			continue
		}
		d := Device{Name: l.name, Index: l.index, MTU: l.mtu, Kind: l.kind, Reason: why}
		if cannot := l.cannot(pods); cannot != "" {
			d.Reason = cannot
			sel.unsteerable = append(sel.unsteerable, d)
			continue
		}
		sel.targets = append(sel.targets, target{Device: d, ethernet: l.linkLayer == "ether", overlay: l.overlay()})
	}
	sel.unsteerable = append(sel.unsteerable, n.beside(sel.targets, reasons)...)
	slices.SortFunc(sel.targets, func(a, b target) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(sel.unsteerable, func(a, b Device) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(sel.missing)
	return sel
}

// retain keeps devices that are steered already, and that nothing calls for any
// more, among the targets: the routes that made one an uplink may be back in a
// moment, and meanwhile packets still leave by it. Names in the configuration
// let go of others once there is a device for each. So does a device that leads to
// this node's pods alone: it was steered while they were thought to be another's, and
// programs there would drop all that is for them.
func (sel selection) retain(n network, held map[int]bool, want sought) selection {
	if len(want.named) > 0 && len(sel.missing) == 0 {
		return sel
	}
	forPods := n.forPodsAlone(want.local)
	for _, l := range n.devices {
		is := func(t target) bool { return t.Index == l.index }
		if forPods[l.index] && !l.overlay() {
			continue
		}
		if !held[l.index] || l.loopback || l.name == want.tunnel || l.index == want.tunnelIndex || slices.ContainsFunc(sel.targets, is) {
			continue
		}
		d := Device{Name: l.name, Index: l.index, MTU: l.mtu, Kind: l.kind, Reason: "steered before, and strict lets no device go"}
		sel.targets = append(sel.targets, target{Device: d, ethernet: l.linkLayer == "ether", overlay: l.overlay()})
	}
	slices.SortFunc(sel.targets, func(a, b target) int { return strings.Compare(a.Name, b.Name) })
	return sel
}

// leaks says which devices should be steered and are not, and what holds there; "" when
// there is none. fenced are those where the nftables table has its say.
func (sel selection) leaks(strict bool, fenced func(device int) bool) string {
	var all []string
	for _, d := range sel.unsteerable {
		if slices.Contains(sideKinds, d.Kind) || d.Kind == functionsKind {
			continue
		}
		holds := "pods' packets may leave by it in plaintext"
		switch {
		case slices.ContainsFunc(sel.targets, func(t target) bool { return t.Index == d.Index }): // see retain
			holds = "it keeps its programs for now"
		case !fenced(d.Index):
		case !strict:
			holds += ", which the nftables table counts"
		case d.Kind == "bridge":
			holds = "the nftables table drops pods' packets that are routed by it, and sees none that it passes from port to port"
		default:
			holds = "the nftables table drops pods' packets there"
		}
		all = append(all, d.Name+": "+d.Reason+"; "+holds)
	}
	for _, name := range sel.missing {
		all = append(all, name+": no such device yet, although the configuration names it")
	}
	return strings.Join(all, "; ")
}

// cannot says why l, although it should be, cannot be steered; "" if it can.
func (l device) cannot(pods map[int]netip.Prefix) string {
	if l.linkLayer != "ether" && !slices.Contains(bareLayers, l.linkLayer) {
		return fmt.Sprintf("its link layer %q is neither Ethernet nor none", l.linkLayer)
	}
	if to, carries := pods[l.index]; carries && !l.overlay() {
		return fmt.Sprintf("it carries both this node's pods (route to %v) and the way to other nodes: configure its port to the network as the device to steer, or move the pods to a device of their own", to)
	}
	return ""
}

// functionsKind is the Kind of what stands for a device's virtual functions.
const functionsKind = "virtual functions"

// beside are the devices that share a steered one without being it: replies to
// the pods behind them do not find back through the host's routes. Virtual functions
// are told of by the device that has them, for who uses one cannot be seen.
func (n network) beside(targets []target, reasons map[int]string) []Device {
	var found []Device
	for _, l := range n.devices {
		if l.functions > 0 && slices.ContainsFunc(targets, func(t target) bool { return t.Index == l.index || t.Index == l.master }) {
			why := fmt.Sprintf("SR-IOV, %d of %s: pods that have one bypass the host's routes", l.functions, l.name)
			found = append(found, Device{Name: l.name + "'s " + functionsKind, Index: l.index, MTU: l.mtu, Kind: functionsKind, Reason: why})
		}
		if !slices.Contains(sideKinds, l.kind) || reasons[l.index] != "" {
			continue
		}
		for _, t := range targets {
			if l.parent == t.Index {
				why := fmt.Sprintf("%s on %s: pods behind it bypass the host's routes", l.kind, t.Name)
				found = append(found, Device{Name: l.name, Index: l.index, MTU: l.mtu, Kind: l.kind, Reason: why})
			}
		}
	}
	return found
}

func (l device) overlay() bool { return slices.Contains(overlayKinds, l.kind) }
