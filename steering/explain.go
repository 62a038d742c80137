package steering

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgsteer/wgsteer/bpf"
)

const leastIPv6 = 1280 // RFC 8200, 5: the least MTU that IPv6 takes

// scene is all that an explanation is made of.
type scene struct {
	contents
	strict bool
	index  int    // of the tunnel device, as the settings say; 0: none
	tunnel device // as it is; zero: it is not there
	route  Route
	out    device // that the route leads to
	// The devices that have programs of ours at egress and at ingress.
	egress, ingress map[string]programs
	ahead           []string // others' programs that are ahead of ours on the egress of out
	ours            []ownedRoute
	table           tableSeen
}

// programs are those of ours on one side of a device, and how each is attached.
type programs map[role]string

// guarded tells whether they drop what must not cross.
func (p programs) guarded() bool { return p[roleGuard] != "" || p[roleBackstop] != "" }

// ownedRoute is one of our routes: into the tunnel, or unreachable.
type ownedRoute struct {
	match       netip.Prefix
	unreachable bool
}

// explain is pure. The addresses are of one family.
func (s scene) explain(source, destination netip.Addr) Explanation {
	from, to := s.end(source), s.end(destination)
	e := Explanation{
		Source: from.End, Destination: to.End, Strict: s.strict, Route: s.route, Device: s.route.Device, MTU: s.out.mtu,
		Direction: "out", Steps: []Step{}, Layers: []Layer{},
	}
	here := to.class == bpf.ClassLocalPod || to.class == bpf.ClassLocalNode
	local := from.class == bpf.ClassLocalPod || from.class == bpf.ClassLocalNode
	switch {
	case here && !local && s.delivers():
		e.Direction, e.Peer = "in", from.Peer
		s.in(&e, from.class, to.class)
		return e
	case s.route.Type == "local" || here && s.delivers():
		e.Direction = "here"
		e.settle("pass", "local", "it stays on this node and meets none of the programs")
		return e
	}
	e.Peer = to.Peer
	_, reason := decideOut(from.class, to.class, bpf.VerdictDrop)
	covered := reason != bpf.ReasonNotPodTraffic
	s.outwards(&e, from.class, to.class, covered)
	if covered {
		// Permissive drops as strict does what is to be encrypted, and that alone.
		verdict, _ := decide(bpf.HookEgress, from.class, to.class, s.strict, true)
		e.Layers = s.layers(destination, verdict != bpf.VerdictPass)
	}
	if e.Verdict == bpf.VerdictEncrypt.String() {
		e.Longer = longer(e.MTU, destination.Is6())
	}
	if covered && len(s.ahead) > 0 {
		e.Notes = append(e.Notes, fmt.Sprintf("ahead of ours on the egress of %s: %s; what they redirect or accept meets none of ours there, and may leave in plaintext", s.out.name, strings.Join(s.ahead, ", ")))
	}
	if reason == bpf.ReasonToRemoteNode || reason == bpf.ReasonUnknownNode {
		e.Notes = append(e.Notes, "where the CNI gives such packets the node's own address (masquerade), they are the node's traffic by the time they leave, and pass in plaintext")
	}
	return e
}

// delivers says whether the route leads to something on this node: neither into
// the tunnel nor out by a steered device.
func (s scene) delivers() bool {
	return s.route.Type == "local" ||
		s.route.Type == "unicast" && s.out.index != s.tunnel.index && len(s.egress[s.out.name]) == 0
}

// outwards follows a packet that leaves.
func (s scene) outwards(e *Explanation, from, to bpf.Class, covered bool) {
	switch {
	case s.route.Type != "unicast":
		e.settle("drop", "no_route", fmt.Sprintf("the kernel refuses it before any program: the route is %q", s.route.Type))
		return
	case s.tunnel.index != 0 && s.out.index == s.tunnel.index:
		e.step(bpf.HookTunnelEgress, s.tunnel.name, from, to, s)
		return
	}
	on := s.egress[s.out.name]
	verdict, _ := decide(bpf.HookEgress, from, to, s.strict, s.index != 0)
	switch {
	case verdict == bpf.VerdictEncrypt && on[roleSteer] != "": // whether guarded or not
	case !on.guarded() && covered && to != bpf.ClassLocalPod && s.table.refuses(s.out.index):
		e.settle("drop", bpf.ReasonNotSteered.String(), s.out.name+" has none of the programs on its egress that would drop it, but the nftables table does")
		return
	case !on.guarded():
		e.Plaintext = covered
		e.settle("pass", "unguarded", s.out.name+" has none of the programs on its egress that would drop it, so the packet goes there as it is")
		return
	case verdict == bpf.VerdictEncrypt:
		e.take(bpf.HookEgress, s.out.name, bpf.VerdictDrop, bpf.ReasonNotSteered)
		return
	}
	switch e.step(bpf.HookEgress, s.out.name, from, to, s) {
	case bpf.VerdictPass:
		e.Plaintext = covered
	case bpf.VerdictEncrypt:
		if !s.redirects() {
			e.settle("drop", bpf.ReasonNoTunnel.String(), "it is redirected to the tunnel device, which is gone: the kernel drops it")
			return
		}
		e.Device, e.MTU = s.tunnel.name, s.tunnel.mtu
		e.step(bpf.HookTunnelEgress, s.tunnel.name, from, to, s)
	}
}

// longer says what becomes of packets that are longer than the tunnel's MTU.
func longer(mtu int, ipv6 bool) string {
	switch {
	case ipv6 && mtu < leastIPv6:
		return "goes in fragments of the tunnel's datagrams, since IPv6 has no less than 1280 bytes"
	case ipv6:
		return "is dropped as too_long, and answered by ICMP"
	}
	return "is dropped as too_long, and answered by ICMP, if it must not be fragmented; else goes in fragments of the tunnel's datagrams"
}

// in tells of a packet for this node: what it meets in plaintext, and then, where
// a peer would encrypt it, what it meets as it comes out of the tunnel.
func (s scene) in(e *Explanation, from, to bpf.Class) {
	_, reason := decide(bpf.HookIngress, from, to, s.strict, true)
	covered := reason != bpf.ReasonNotPodTraffic
	if uplinks := s.guardedAtIngress(); len(uplinks) > 0 {
		verdict := e.step(bpf.HookIngress, strings.Join(uplinks, ", "), from, to, s)
		e.Plaintext = covered && verdict == bpf.VerdictPass
	} else if covered && s.table.refuses(0) {
		e.settle("drop", bpf.ReasonPlaintextIn.String(), "no device has one of the programs on its ingress, but the nftables table drops it")
	} else {
		e.settle("pass", "unguarded", "no device has one of the programs on its ingress, so it comes in as it is")
		e.Plaintext = covered
	}
	if covered && e.Peer != "" && s.redirects() {
		e.Plaintext, e.Device, e.MTU = false, s.tunnel.name, s.tunnel.mtu
		e.step(bpf.HookTunnelIngress, s.tunnel.name, from, to, s)
		s.behind(e, to)
		e.Why = "out of the tunnel: " + e.Why
		e.Notes = append(e.Notes, fmt.Sprintf("%s encrypts it; the step at ingress is for one that comes in plaintext", e.Peer))
	}
}

// guardedAtIngress are the devices that drop plaintext that comes in.
func (s scene) guardedAtIngress() []string {
	var names []string
	for name, on := range s.ingress {
		if on.guarded() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// redirects says whether there is a device where the programs redirect to.
func (s scene) redirects() bool { return s.index != 0 && s.tunnel.index == s.index }

// step adds what a program does, which becomes the verdict.
func (e *Explanation) step(hook bpf.Hook, device string, from, to bpf.Class, s scene) bpf.Verdict {
	verdict, reason := decide(hook, from, to, s.strict, s.index != 0)
	e.take(hook, device, verdict, reason)
	return verdict
}

func (e *Explanation) take(hook bpf.Hook, device string, verdict bpf.Verdict, reason bpf.Reason) {
	e.Steps = append(e.Steps, Step{hook.String(), device, verdict.String(), reason.String(), reason.Doc()})
	e.settle(verdict.String(), reason.String(), reason.Doc())
}

func (e *Explanation) settle(verdict, reason, why string) {
	e.Verdict, e.Reason, e.Why = verdict, reason, why
}

// layers are what would catch a packet to an address, each by itself; drops says whether the
// programs drop such a one.
func (s scene) layers(to netip.Addr, drops bool) []Layer {
	var layers []Layer
	for _, r := range []role{roleGuard, roleBackstop} {
		l := Layer{Name: string(r), Detail: "not on the egress of the route's device"}
		if how := s.egress[s.out.name][r]; how != "" && s.route.Type == "unicast" {
			l.There, l.Detail = drops, how+" on the egress of "+s.out.name
			if !drops {
				l.Detail += " only counts: the policy is permissive"
			}
		}
		layers = append(layers, l)
	}
	tunnel := Layer{Name: "tunnel_route", Detail: "no route of ours into the tunnel for it"}
	unreachable := Layer{Name: "unreachable_route", Detail: "no unreachable route of ours for it"}
	for _, r := range s.ours {
		at := &tunnel
		if r.unreachable {
			at = &unreachable
		}
		if r.match.Contains(to) {
			at.There, at.Detail = true, r.match.String()
		}
	}
	return append(layers, s.tableLayer(), tunnel, unreachable)
}

// classed is an End with its class.
type classed struct {
	End
	class bpf.Class
}

// end looks an address up: the longest prefix counts, as in the programs' trie.
func (s scene) end(addr netip.Addr) classed {
	found := classed{End: End{Address: addr}}
	for key, value := range s.prefixes {
		p := key.Prefix()
		if p.Contains(addr) && (!found.Prefix.IsValid() || p.Bits() > found.Prefix.Bits()) {
			found.Prefix, found.class, found.Peer = p, bpf.Class(value.Class), s.names[value.Peer]
		}
	}
	found.Class, found.Meaning = found.class.String(), found.class.Doc()
	return found
}

// state is the State that the maps were made of, as far as they tell, without a tunnel
// device.
func (s scene) state() State {
	state := State{Strict: s.strict}
	peers := map[uint32]Peer{}
	for key, value := range s.prefixes {
		prefix, peer := key.Prefix(), peers[value.Peer]
		switch bpf.Class(value.Class) {
		case bpf.ClassCluster:
			state.ClusterCIDRs = append(state.ClusterCIDRs, prefix)
		case bpf.ClassUnknownNode:
			state.NodeCIDRs = append(state.NodeCIDRs, prefix)
		case bpf.ClassLocalPod:
			state.LocalPodCIDRs = append(state.LocalPodCIDRs, prefix)
		case bpf.ClassLocalNode:
			state.LocalNodeIPs = append(state.LocalNodeIPs, prefix.Addr())
			state.Tunnel.Addresses = append(state.Tunnel.Addresses, prefix)
		case bpf.ClassRemotePod:
			peer.PodCIDRs = append(peer.PodCIDRs, prefix)
			peers[value.Peer] = peer
		case bpf.ClassRemoteNode:
			peer.NodeIPs = append(peer.NodeIPs, prefix.Addr())
			peers[value.Peer] = peer
		}
	}
	for number, peer := range peers {
		peer.Name = s.names[number]
		state.Peers = append(state.Peers, peer)
	}
	return state
}
