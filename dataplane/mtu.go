package dataplane

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel"
)

const (
	// overhead of a tunnelled packet in bytes: WireGuard 32, UDP 8, IPv6 40, which is
	// 20 more than IPv4.
	overhead     = 80
	overheadIPv4 = overhead - 20
	// defaultMTU is for a node without an uplink: Ethernet's less overhead.
	defaultMTU = 1500 - overhead
	minMTU     = 576   // RFC 791: what every IPv4 host takes
	maxMTU     = 65455 // the longest IP packet less overhead
)

// MTUSource says what a tunnel's MTU is made of. All numbers are bytes.
type MTUSource struct {
	Configured bool   `json:"configured"`          // by Config.MTU; else it is Allowed
	Uplink     string `json:"uplink,omitempty"`    // the smallest; empty: there is none
	UplinkMTU  int    `json:"uplinkMTU,omitempty"` // of Uplink
	Overhead   int    `json:"overhead"`            // of the tunnel over IPv6
	// Allowed is UplinkMTU less Overhead, but at least 576, and without an uplink
	// what Ethernet would allow.
	Allowed int `json:"allowed"`
}

// mtuSource finds the smallest uplink.
func mtuSource(c Config, uplinks []steering.Device) MTUSource {
	m := MTUSource{Configured: c.MTU != 0, Overhead: overhead, Allowed: defaultMTU}
	if len(uplinks) > 0 {
		smallest := slices.MinFunc(uplinks, func(a, b steering.Device) int { return cmp.Compare(a.MTU, b.MTU) })
		m.Uplink, m.UplinkMTU = smallest.Name, smallest.MTU
		m.Allowed = min(max(smallest.MTU-overhead, minMTU), maxMTU)
	}
	return m
}

// Explain is the arithmetic by which a tunnel has this MTU, for people.
func (m MTUSource) Explain(mtu int) string {
	switch {
	case mtu == 0:
		return ""
	case m.Configured:
		return fmt.Sprintf("%d, configured; uplinks allow %d", mtu, m.Allowed)
	case m.Uplink == "":
		return fmt.Sprintf("%d, as over Ethernet: there is no uplink", mtu)
	case mtu != m.UplinkMTU-m.Overhead:
		return fmt.Sprintf("%d; the smallest uplink, %s, has %d", mtu, m.Uplink, m.UplinkMTU)
	}
	return fmt.Sprintf("%d = %d of %s (smallest uplink) - %d (WireGuard 32, UDP 8, IPv6 40)", mtu, m.UplinkMTU, m.Uplink, m.Overhead)
}

// warning says which peer's datagrams a configured MTU makes too long for the
// uplinks, and what to do; empty if there is none.
func (m MTUSource) warning(mtu int, peers []tunnel.Peer) string {
	if !m.Configured || m.Uplink == "" {
		return ""
	}
	for _, p := range peers {
		to := p.Endpoint.Addr()
		if most := m.UplinkMTU - overheadTo(to); to.IsValid() && mtu > most {
			return fmt.Sprintf("%d is more than %s leaves room for on the way to %s: %d of its %d bytes. The tunnel's datagrams go in fragments, which is slow, and which some networks drop; set mtu to 0 or at most %d",
				mtu, m.Uplink, to, most, m.UplinkMTU, most)
		}
	}
	return ""
}

func overheadTo(endpoint netip.Addr) int {
	if endpoint.Unmap().Is4() {
		return overheadIPv4
	}
	return overhead
}
