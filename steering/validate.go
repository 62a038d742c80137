package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgsteer/wgsteer/bpf"
)

// Validate says what in s cannot be steered; nil when all can.
func (s State) Validate() error {
	errs := s.checkOwn()
	refused := s.Refused()
	for _, p := range s.Peers {
		if err := refused[p.Name]; err != nil {
			errs = append(errs, err)
			delete(refused, p.Name)
		}
	}
	return errors.Join(errs...)
}

// Refused says, by peer name, which peers cannot be steered beside this node's
// own and the others, and why; of two that collide the one with the greater
// name. Without them a State whose own part is right is valid.
func (s State) Refused() map[string]error {
	refused := map[string]error{}
	owners := owners{}
	for _, p := range s.LocalPodCIDRs {
		owners[p] = "this node's pods"
	}
	for _, a := range s.LocalNodeIPs {
		owners[single(a)] = "this node"
	}
	names := map[string]bool{}
	for _, p := range sortedPeers(s.Peers) {
		if names[p.Name] {
			refused[p.Name] = fmt.Errorf("peer %q is given twice", p.Name)
			continue
		}
		names[p.Name] = true
		if err := s.checkPeer(p, owners); err != nil {
			refused[p.Name] = fmt.Errorf("peer %q: %w", p.Name, err)
			continue
		}
		owners.claim(p)
	}
	return refused
}

// checkOwn checks what is said of this node and of the cluster.
func (s State) checkOwn() []error {
	var errs []error
	for _, cidr := range s.ClusterCIDRs {
		if err := checkPrefix("cluster CIDR", cidr); err != nil {
			errs = append(errs, err)
		}
	}
	for _, cidr := range s.NodeCIDRs {
		errs = append(errs, s.checkNodes(cidr))
	}
	for _, cidr := range s.LocalPodCIDRs {
		errs = append(errs, s.checkPods(cidr))
	}
	for _, addr := range s.LocalNodeIPs {
		errs = append(errs, s.checkNode("this node's address", addr))
	}
	errs = append(errs, s.EncapsulationPorts.Check())
	for _, d := range s.PodDevices {
		if err := CheckPodDevice(d); err != nil {
			errs = append(errs, fmt.Errorf("pods' device %q: %w", d, err))
		}
	}
	if n := len(s.PodDevices); n > MaxPodDevices {
		errs = append(errs, fmt.Errorf("%d names of pods' devices, want at most %d", n, MaxPodDevices))
	}
	if s.Tunnel.Index < 0 {
		errs = append(errs, fmt.Errorf("tunnel device index %d is negative", s.Tunnel.Index))
	}
	for _, p := range s.Tunnel.Addresses {
		if !p.IsValid() || !p.IsSingleIP() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			errs = append(errs, fmt.Errorf("tunnel address %v: want a single address, /32 or /128", p))
		}
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// checkPeer checks one peer against the cluster and what others own.
func (s State) checkPeer(p Peer, owners owners) error {
	if _, err := bpf.PeerName(p.Name); err != nil {
		return err
	}
	if len(p.Name) > 255 {
		return fmt.Errorf("its name has %d bytes, want at most 255", len(p.Name))
	}
	for _, cidr := range p.PodCIDRs {
		if err := s.checkPods(cidr); err != nil {
			return err
		}
		if owner, taken := owners[cidr]; taken {
			return fmt.Errorf("pod CIDR %v is that of %s", cidr, owner)
		}
	}
	for _, addr := range p.NodeIPs {
		if err := s.checkNode("node address", addr); err != nil {
			return err
		}
		if owner, taken := owners[single(addr)]; taken {
			return fmt.Errorf("node address %v is that of %s", addr, owner)
		}
	}
	if p.Endpoint.IsValid() {
		return s.checkNode("endpoint", p.Endpoint)
	}
	return nil
}

// checkPods checks a pod CIDR of anyone. Outside the cluster CIDRs its packets
// would pass in plaintext as soon as its node is not known.
func (s State) checkPods(cidr netip.Prefix) error {
	if err := checkPrefix("pod CIDR", cidr); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.ClusterCIDRs, func(c netip.Prefix) bool { return within(cidr, c) }) {
		return fmt.Errorf("pod CIDR %v is in none of the cluster CIDRs %v: add one that holds it", cidr, s.ClusterCIDRs)
	}
	return nil
}

// checkNode checks an address of a node or its tunnel: were it a pod's, the
// tunnel's own packets would be steered into the tunnel, or dropped.
func (s State) checkNode(what string, addr netip.Addr) error {
	if !addr.IsValid() || addr.Is4In6() || addr.Zone() != "" || addr.IsUnspecified() {
		return fmt.Errorf("%s %v: want a plain IPv4 or IPv6 address", what, addr)
	}
	for _, cidr := range s.ClusterCIDRs {
		if cidr.Contains(addr) {
			return fmt.Errorf("cluster CIDR %v contains %s %v: cluster CIDRs hold pods alone, make it narrower", cidr, what, addr)
		}
	}
	return nil
}

// checkNodes checks a node CIDR. What it shared with a cluster CIDR would be a node's
// and a pod's.
func (s State) checkNodes(cidr netip.Prefix) error {
	if err := checkPrefix("node CIDR", cidr); err != nil {
		return err
	}
	for _, cluster := range s.ClusterCIDRs {
		if cluster.Overlaps(cidr) {
			return fmt.Errorf("node CIDR %v overlaps cluster CIDR %v, which holds pods alone: make one of them narrower", cidr, cluster)
		}
	}
	return nil
}

// checkPrefix refuses what the table of prefixes cannot say: IPv4 is there as
// ::ffff:0:0/96, which an IPv6 prefix may not cover.
func checkPrefix(what string, p netip.Prefix) error {
	mapped := netip.MustParsePrefix("::ffff:0:0/96")
	switch {
	case !p.IsValid():
		return fmt.Errorf("%s is not a valid prefix", what)
	case p != p.Masked():
		return fmt.Errorf("%s %v has bits beyond its length, want %v", what, p, p.Masked())
	case p.Addr().Is6() && p.Overlaps(mapped):
		return fmt.Errorf("%s %v covers IPv4-mapped addresses", what, p)
	}
	return nil
}

// owners says who holds a prefix.
type owners map[netip.Prefix]string

func (o owners) claim(p Peer) {
	for _, cidr := range p.PodCIDRs {
		o[cidr] = fmt.Sprintf("peer %q", p.Name)
	}
	for _, addr := range p.NodeIPs {
		o[single(addr)] = fmt.Sprintf("peer %q", p.Name)
	}
}

// within says whether all of inner is in outer.
func within(inner, outer netip.Prefix) bool {
	return inner.Bits() >= outer.Bits() && outer.Contains(inner.Addr())
}

// single is the prefix of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func sortedPeers(peers []Peer) []Peer {
	return slices.SortedStableFunc(slices.Values(peers), func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
}

// clone shares nothing with s.
func (s State) clone() *State {
	s.LocalPodCIDRs = slices.Clone(s.LocalPodCIDRs)
	s.LocalNodeIPs = slices.Clone(s.LocalNodeIPs)
	s.ClusterCIDRs = slices.Clone(s.ClusterCIDRs)
	s.NodeCIDRs = slices.Clone(s.NodeCIDRs)
	s.Devices = slices.Clone(s.Devices)
	s.PodDevices = slices.Clone(s.PodDevices)
	s.EncapsulationPorts.VXLAN = slices.Clone(s.EncapsulationPorts.VXLAN)
	s.EncapsulationPorts.Geneve = slices.Clone(s.EncapsulationPorts.Geneve)
	s.Tunnel.Addresses = slices.Clone(s.Tunnel.Addresses)
	s.Peers = slices.Clone(s.Peers)
	for i := range s.Peers {
		s.Peers[i].PodCIDRs = slices.Clone(s.Peers[i].PodCIDRs)
		s.Peers[i].NodeIPs = slices.Clone(s.Peers[i].NodeIPs)
	}
	return &s
}
