package kernel

import (
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// What one netlink message may hold: more than this wgctrl splits by its own
// rules, a peer a message.
const (
	peersAtOnce    = 32
	prefixesAtOnce = 256
)

// identityOf sets what belongs to the device, without the port; false if nothing
// is to be set.
func identityOf(c tunnel.Changes) (wgtypes.Config, bool) {
	var out wgtypes.Config
	if c.PrivateKey != nil {
		k := wgtypes.Key(c.PrivateKey.Reveal())
		out.PrivateKey = &k
	}
	if c.FirewallMark != nil {
		mark := int(*c.FirewallMark)
		out.FirewallMark = &mark
	}
	return out, out.PrivateKey != nil || out.FirewallMark != nil
}

func portOf(port uint16) wgtypes.Config {
	n := int(port)
	return wgtypes.Config{ListenPort: &n}
}

// peersOf are the changes of peers, a netlink message each, in an order that
// leaves no prefix without a peer which it shall have.
//
// Kernels up to Linux 6.12 at least cannot take one prefix from a peer
// (WGALLOWEDIP_F_REMOVE_ME is newer). Replacing its list drops what travels meanwhile.
// But adding a prefix to another peer moves it in one step; so what is to go is
// moved to dummy, a peer that nobody is, and goes with it.
func peersOf(c tunnel.Changes, dummy wgkey.PublicKey) []wgtypes.Config {
	var peers []wgtypes.PeerConfig
	var gone []netip.Prefix
	for _, p := range c.Peers {
		peers = append(peers, split(peerOf(p))...)
		gone = append(gone, p.Removed...)
	}
	if len(gone) > 0 {
		peers = append(peers, split(wgtypes.PeerConfig{PublicKey: wgtypes.Key(dummy), AllowedIPs: networks(gone)})...)
		peers = append(peers, removalOf(dummy))
	}
	for _, key := range c.Removed {
		peers = append(peers, removalOf(key))
	}
	return messages(peers)
}

func peerOf(p tunnel.PeerChange) wgtypes.PeerConfig {
	out := wgtypes.PeerConfig{
		PublicKey: wgtypes.Key(p.PublicKey), UpdateOnly: !p.New,
		PersistentKeepaliveInterval: p.PersistentKeepalive, AllowedIPs: networks(p.Added),
	}
	if p.PresharedKey != nil {
		k := wgtypes.Key(p.PresharedKey.Reveal())
		out.PresharedKey = &k
	}
	if p.Endpoint.IsValid() {
		out.Endpoint = net.UDPAddrFromAddrPort(p.Endpoint)
	}
	return out
}

func removalOf(key wgkey.PublicKey) wgtypes.PeerConfig {
	return wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), UpdateOnly: true, Remove: true}
}

// split makes several of a peer that has more prefixes than a message holds.
func split(p wgtypes.PeerConfig) []wgtypes.PeerConfig {
	var out []wgtypes.PeerConfig
	for len(p.AllowedIPs) > prefixesAtOnce {
		part := p
		part.AllowedIPs = p.AllowedIPs[:prefixesAtOnce]
		out = append(out, part)
		p = wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, AllowedIPs: p.AllowedIPs[prefixesAtOnce:]}
	}
	return append(out, p)
}

// messages packs them, in their order.
func messages(peers []wgtypes.PeerConfig) []wgtypes.Config {
	var out []wgtypes.Config
	prefixes := 0
	for _, p := range peers {
		last := len(out) - 1
		if last < 0 || len(out[last].Peers) == peersAtOnce || prefixes+len(p.AllowedIPs) > prefixesAtOnce {
			out, last, prefixes = append(out, wgtypes.Config{}), last+1, 0
		}
		out[last].Peers = append(out[last].Peers, p)
		prefixes += len(p.AllowedIPs)
	}
	return out
}

func networks(prefixes []netip.Prefix) []net.IPNet {
	var out []net.IPNet
	for _, p := range prefixes {
		out = append(out, net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return out
}
