package steering

import (
	"math"
	"net/netip"
)

// The metrics of our routes: the last two there are, so that a CNI's own route
// to the same prefix (0 in IPv4, 1024 in IPv6, unless it says otherwise) comes
// first. Its packets leave by an uplink or overlay device and are redirected
// there. Ours count where the CNI has none, or only a wider one.
const (
	metricUnreachable = math.MaxUint32
	metricPods        = math.MaxUint32 - 1
)

// routeKey is what tells our routes apart; the kernel replaces by it.
type routeKey struct {
	dst    netip.Prefix
	metric uint32
}

// routeTarget is where one leads; the zero value is unreachable.
type routeTarget struct {
	device int        // index of the tunnel device
	source netip.Addr // what the node's own packets carry
}

// routes derives our routes from a valid state: in strict mode an unreachable
// one for each cluster CIDR, so that nothing falls through to the default route;
// and with a tunnel one for each remote pod CIDR. A cluster CIDR goes there too:
// a packet to a pod that nobody announced is dropped there by name and counted,
// where the unreachable route would drop it uncounted.
//
// In permissive mode there is no unreachable route: where the CNI routes pods
// by the default route, it would refuse what is to pass.
func (s State) routes() map[routeKey]routeTarget {
	want := map[routeKey]routeTarget{}
	if s.Strict {
		for _, cidr := range s.ClusterCIDRs {
			want[routeKey{cidr, metricUnreachable}] = routeTarget{}
		}
	}
	if s.Tunnel.Index == 0 {
		return want
	}
	into := func(cidrs []netip.Prefix) {
		for _, cidr := range cidrs {
			want[routeKey{cidr, metricPods}] = routeTarget{s.Tunnel.Index, s.Tunnel.source(cidr.Addr())}
		}
	}
	if s.Strict {
		into(s.ClusterCIDRs)
	}
	for _, p := range s.Peers {
		into(p.PodCIDRs)
	}
	return want
}

// source is the node's first address of to's family, which is the one that the
// peers' allowed IPs and the class table know; the zero Addr if there is none.
func (t Tunnel) source(to netip.Addr) netip.Addr {
	for _, a := range t.Addresses {
		if a.Addr().Is4() == to.Is4() {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// addresses are those that belong on the tunnel device.
func (s State) addresses() map[netip.Prefix]bool {
	want := map[netip.Prefix]bool{}
	for _, p := range s.Tunnel.Addresses {
		want[p] = true
	}
	return want
}
