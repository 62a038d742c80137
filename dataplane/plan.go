package dataplane

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// facts is what plan has to know of the host.
type facts struct {
	tunnel        tunnel.Link   // zero while there is none
	local         *keymgr.Local // what the source told of this node last; nil: nothing
	backend       Backend       // of this node; empty before it is chosen
	backendReason string        // why it was
	uplinks       []steering.Device
	// defaultAddresses are the node's addresses where none are configured.
	defaultAddresses []netip.Addr
}

// plan is what a Config, a key, the host's facts and the cluster's accepted
// nodes come to.
type plan struct {
	self     keymgr.Node
	tunnel   tunnel.Config
	mtu      MTUSource
	steering steering.State
	problems []keymgr.Problem
}

// makePlan is pure. nodes are those that keymgr accepted, sorted by name; this
// node's own is left out by its name, and what cannot be steered is a problem.
func makePlan(c Config, key wgkey.PrivateKey, f facts, nodes []keymgr.Node) plan {
	p := plan{self: self(c, key.Public(), f), mtu: mtuSource(c, f.uplinks)}
	_, p.problems = ownPods(c, p.self.NodeIPs, f.local)
	p.tunnel = tunnel.Config{PrivateKey: key, ListenPort: c.ListenPort, MTU: cmp.Or(c.MTU, p.mtu.Allowed)}
	p.steering = steering.State{
		Strict:        c.Policy == Strict,
		LocalPodCIDRs: p.self.PodCIDRs,
		LocalNodeIPs:  p.self.NodeIPs,
		ClusterCIDRs:  c.ClusterCIDRs,
		NodeCIDRs:     c.NodeCIDRs,
		Devices:       c.Devices,
		PodDevices:    c.PodDevices,

		EncapsulationPorts: c.EncapsulationPorts,
	}
	if f.tunnel.Index != 0 {
		p.steering.Tunnel = steering.Tunnel{Index: f.tunnel.Index, Addresses: hostPrefixes(p.self.NodeIPs)}
	}
	nodes = filter(nodes, func(n keymgr.Node) bool { return n.Name != c.Node })
	for _, n := range nodes {
		p.steering.Peers = append(p.steering.Peers, steering.Peer{
			Name:     n.Name,
			PodCIDRs: n.PodCIDRs,
			NodeIPs:  n.NodeIPs,
			Endpoint: n.Endpoint.Addr(),
		})
	}
	refused := p.steering.Refused()
	p.steering.Peers = filter(p.steering.Peers, func(s steering.Peer) bool { return refused[s.Name] == nil })
	for _, n := range nodes {
		if err := refused[n.Name]; err != nil {
			p.problems = append(p.problems, keymgr.Problem{Node: n.Name, Record: n.Record,
				Message: err.Error() + "; correct the record, or this node's configuration"})
			continue
		}
		p.tunnel.Peers = append(p.tunnel.Peers, tunnel.Peer{
			PublicKey:           n.PublicKey,
			Endpoint:            n.Endpoint,
			AllowedIPs:          append(slices.Clone(n.PodCIDRs), hostPrefixes(n.NodeIPs)...),
			PersistentKeepalive: cmp.Or(n.PersistentKeepalive, c.PersistentKeepalive),
		})
	}
	if w := p.mtu.warning(p.tunnel.MTU, p.tunnel.Peers); w != "" {
		p.problems = append(p.problems, keymgr.Problem{Node: c.Node, Record: "mtu", Message: w, Warning: true})
	}
	return p
}

// oneLine is text as a record has it: without what breaks lines, and cut where it is too
// long for one.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > keymgr.MaxReason {
		text = strings.ToValidUTF8(text[:keymgr.MaxReason], "")
	}
	return text
}

// self is the record that this node publishes.
func self(c Config, key wgkey.PublicKey, f facts) keymgr.Node {
	n := keymgr.Node{
		Name:                c.Node,
		PublicKey:           key,
		Endpoint:            c.Endpoint,
		NodeIPs:             c.NodeIPs,
		PersistentKeepalive: c.PersistentKeepalive,
		Backend:             string(f.backend),
		BackendReason:       oneLine(f.backendReason),
	}
	if len(n.NodeIPs) == 0 {
		n.NodeIPs = f.defaultAddresses
	}
	n.PodCIDRs, _ = ownPods(c, n.NodeIPs, f.local)
	if !n.Endpoint.IsValid() && len(n.NodeIPs) > 0 {
		n.Endpoint = netip.AddrPortFrom(n.NodeIPs[0], c.ListenPort)
	}
	return n
}

// checkSelf refuses what only the host's facts could tell.
func checkSelf(c Config, n keymgr.Node) error {
	if len(n.NodeIPs) == 0 {
		return badField("nodeIPs", "none", "no default route has a device with a global address; name this node's addresses")
	}
	for _, a := range n.NodeIPs {
		if cl, in := within(c.ClusterCIDRs, a); in {
			return inCluster("nodeIPs", a, cl)
		}
	}
	return nil
}

// podsOutside names those of the nodes, but for this one, that have pods which
// clusterCIDRs do not hold.
func podsOutside(c Config, nodes []keymgr.Node) []string {
	var names []string
	for _, n := range nodes {
		if n.Name != c.Node && slices.ContainsFunc(n.PodCIDRs, func(p netip.Prefix) bool { return !c.holds(p) }) {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func hostPrefixes(addrs []netip.Addr) []netip.Prefix {
	out := make([]netip.Prefix, len(addrs))
	for i, a := range addrs {
		out[i] = hostPrefix(a)
	}
	return out
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// filter returns a new slice; the argument stays as it is.
func filter[T any](list []T, keep func(T) bool) []T {
	var out []T
	for _, v := range list {
		if keep(v) {
			out = append(out, v)
		}
	}
	return out
}
