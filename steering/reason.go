package steering

import (
	"fmt"
	"net/netip"
	"slices"
)

// reasons says, by index, why a device is to be steered; the first reason stays.
func (n network) reasons(want sought) map[int]string {
	byIndex := make(map[int]device, len(n.devices))
	for _, d := range n.devices {
		byIndex[d.index] = d
	}
	reasons := map[int]string{}
	give := func(d device, why string, masters ...string) {
		if m := byIndex[d.master]; slices.Contains(masters, m.kind) && !d.overlay() {
			d = m
		}
		if reasons[d.index] == "" {
			reasons[d.index] = why
		}
	}
	if len(want.named) > 0 {
		for _, d := range n.devices {
			if slices.Contains(want.named, d.name) {
				// A bridge port may be named, for a bridge that cannot be steered.
				give(d, "named in the configuration", "bond", "team")
			}
		}
		return reasons
	}
	for _, d := range n.devices {
		// Whatever it is a port of: what is bridged to it does not pass the
		// bridge's own egress.
		if d.overlay() {
			give(d, "overlay device")
		}
	}
	for _, w := range n.ways(want) {
		if d, ok := byIndex[w.device]; ok {
			give(d, w.why, "bridge", "bond", "team")
		}
	}
	return reasons
}

// way is a device that leads to other nodes, and why that is thought.
type way struct {
	device int
	why    string
}

// ways lists the devices that routes make uplinks.
func (n network) ways(want sought) []way {
	var found []way
	for _, r := range n.routes {
		if r.dst.Bits() == 0 {
			found = append(found, way{r.device, "default route"})
		}
	}
	tables := n.tables()
	for _, to := range want.endpoints {
		for _, table := range tables {
			for _, r := range table.longest(to, to.BitLen()) {
				found = append(found, way{r.device, fmt.Sprintf("route to endpoint %v", to)})
			}
		}
	}
	for _, to := range want.remote {
		for _, table := range tables {
			for _, r := range table.longest(to.Addr(), to.Bits()) {
				found = append(found, way{r.device, fmt.Sprintf("route to pods %v", to)})
			}
		}
	}
	return append(found, n.waysWithin(want)...)
}

// waysWithin lists the devices of routes to a part of other nodes' pods. In a
// known node's CIDR any route is such; elsewhere in the cluster CIDRs one by a
// gateway, since one without may lead to a local pod whose address is not in
// this node's CIDRs.
func (n network) waysWithin(want sought) []way {
	local, remote, cluster := setOf(want.local), setOf(want.remote), setOf(want.cluster)
	var found []way
	for _, r := range n.routes {
		if r.dst.Bits() == 0 || local.holds(r.dst) {
			continue
		}
		if remote.holds(r.dst) || r.gateway && cluster.holds(r.dst) {
			found = append(found, way{r.device, fmt.Sprintf("route to pods %v", r.dst)})
		}
	}
	return found
}

// podCarriers are the devices with routes straight to this node's pods: to a
// part of their CIDRs, or else the most specific ones to all of one.
func (n network) podCarriers(local []netip.Prefix) map[int]netip.Prefix {
	carriers := map[int]netip.Prefix{}
	pods := setOf(local)
	parts := false
	for _, r := range n.routes {
		if pods.holds(r.dst) {
			parts = true
			if !r.gateway {
				carriers[r.device] = r.dst
			}
		}
	}
	if parts {
		return carriers
	}
	for _, to := range local {
		for _, table := range n.tables() {
			for _, r := range table.longest(to.Addr(), to.Bits()) {
				if !r.gateway && r.dst.Bits() > 0 {
					carriers[r.device] = r.dst
				}
			}
		}
	}
	return carriers
}

// waysToPods are the devices of routes to this node's pods, by a gateway or straight: to
// a part of their CIDRs, or the most specific ones to all of one.
func (n network) waysToPods(local []netip.Prefix) map[int]netip.Prefix {
	ways := map[int]netip.Prefix{}
	pods := setOf(local)
	for _, r := range n.routes {
		if pods.holds(r.dst) {
			ways[r.device] = r.dst
		}
	}
	for _, to := range local {
		for _, table := range n.tables() {
			for _, r := range table.longest(to.Addr(), to.Bits()) {
				if r.dst.Bits() > 0 {
					ways[r.device] = r.dst
				}
			}
		}
	}
	return ways
}

// tables indexes the routes of each table. Routes to one prefix of all metrics
// are together: rules and failover choose among them.
func (n network) tables() map[int]*prefixMap[[]route] {
	tables := map[int]*prefixMap[[]route]{}
	for _, r := range n.routes {
		if tables[r.table] == nil {
			tables[r.table] = &prefixMap[[]route]{}
		}
		t := tables[r.table]
		t.put(r.dst, append(t.at[r.dst], r))
	}
	return tables
}

// forPodsAlone are the devices with routes straight to this node's pods and to nothing
// else. What an uplink has of routes when it has just come up, to its own link, makes it
// none of them.
func (n network) forPodsAlone(local []netip.Prefix) map[int]bool {
	pods, found := setOf(local), map[int]bool{}
	for index := range n.podCarriers(local) {
		found[index] = true
	}
	for _, r := range n.routes {
		if r.gateway || !pods.holds(r.dst) && !r.dst.Addr().IsLinkLocalUnicast() && !r.dst.Addr().IsMulticast() {
			delete(found, r.device)
		}
	}
	return found
}
