package tunnel

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wgsteer/wgsteer/wgkey"
)

// Changes make one configuration into another. They are to be made in the
// order of the fields: a prefix that moves from one peer to another is then
// never without an owner. What is nil or empty stays as it is.
type Changes struct {
	PrivateKey   *wgkey.PrivateKey
	ListenPort   *uint16
	FirewallMark *uint32
	MTU          *int // bytes
	// Peers are those to add or to change, sorted by public key.
	Peers []PeerChange
	// Removed are the peers to remove, sorted.
	Removed []wgkey.PublicKey
}

// PeerChange is what to do to one peer.
type PeerChange struct {
	PublicKey wgkey.PublicKey
	// New is true when the peer is to be added.
	New bool
	// PresharedKey points to the zero key when there shall be none any more.
	PresharedKey *wgkey.PresharedKey
	// Endpoint is valid when it is to be set. There is no unsetting: WireGuard
	// goes on to send where it last heard the peer.
	Endpoint netip.AddrPort
	// Added prefixes may belong to another peer until then; adding moves them,
	// and they are not among the Removed of that one. Both are sorted.
	Added, Removed []netip.Prefix
	// PersistentKeepalive in whole seconds; zero turns it off.
	PersistentKeepalive *time.Duration
}

// Empty reports whether there is nothing to do.
func (c Changes) Empty() bool {
	return c.PrivateKey == nil && c.ListenPort == nil && c.FirewallMark == nil && c.MTU == nil &&
		len(c.Peers) == 0 && len(c.Removed) == 0
}

// Diff returns what makes have into want, both valid (Validate); the order of
// peers and prefixes has no meaning. Where want leaves a choice (port or MTU
// zero), what have chose stays.
//
// An endpoint is set when the configured one differs, so have's endpoints have
// to be those last configured, not where the peers are heard from now: a peer
// that roamed stays where it is.
func Diff(have, want Config) Changes {
	var c Changes
	if !samePrivateKey(have.PrivateKey, want.PrivateKey) {
		c.PrivateKey = &want.PrivateKey
	}
	if want.ListenPort != 0 && want.ListenPort != have.ListenPort {
		c.ListenPort = &want.ListenPort
	}
	if want.FirewallMark != have.FirewallMark {
		c.FirewallMark = &want.FirewallMark
	}
	if want.MTU != 0 && want.MTU != have.MTU {
		c.MTU = &want.MTU
	}
	old := peersByKey(have.Peers)
	wanted := peersByKey(want.Peers)
	owner := owners(want.Peers)
	for key, p := range wanted {
		o, known := old[key]
		if ch := diffPeer(o, p, owner); !known || !ch.empty() {
			ch.New = !known
			c.Peers = append(c.Peers, ch)
		}
	}
	for key := range old {
		if _, ok := wanted[key]; !ok {
			c.Removed = append(c.Removed, key)
		}
	}
	slices.SortFunc(c.Peers, func(a, b PeerChange) int { return compareKeys(a.PublicKey, b.PublicKey) })
	slices.SortFunc(c.Removed, compareKeys)
	return c
}

func (p PeerChange) empty() bool {
	return p.PresharedKey == nil && !p.Endpoint.IsValid() && p.PersistentKeepalive == nil &&
		len(p.Added) == 0 && len(p.Removed) == 0
}

// diffPeer compares two states of one peer; owner says whose each prefix will be.
func diffPeer(have, want Peer, owner map[netip.Prefix]wgkey.PublicKey) PeerChange {
	c := PeerChange{PublicKey: want.PublicKey}
	if !have.PresharedKey.Equal(want.PresharedKey) {
		c.PresharedKey = &want.PresharedKey
	}
	if want.Endpoint.IsValid() && unmapped(want.Endpoint) != unmapped(have.Endpoint) {
		c.Endpoint = unmapped(want.Endpoint)
	}
	if k := keepaliveOf(want); k != keepaliveOf(have) {
		c.PersistentKeepalive = &k
	}
	had := prefixSet(have.AllowedIPs)
	for p := range prefixSet(want.AllowedIPs) {
		if !had[p] {
			c.Added = append(c.Added, p)
		}
	}
	for p := range had {
		if _, owned := owner[p]; !owned {
			c.Removed = append(c.Removed, p)
		}
	}
	slices.SortFunc(c.Added, netip.Prefix.Compare)
	slices.SortFunc(c.Removed, netip.Prefix.Compare)
	return c
}

// samePrivateKey also takes keys for the same that differ in the bits which
// X25519 ignores (RFC 7748, section 5): engines clamp what they are given.
func samePrivateKey(a, b wgkey.PrivateKey) bool {
	return a.Equal(b) || !a.IsZero() && !b.IsZero() && a.Public() == b.Public()
}

// keepaliveOf rounds to whole seconds; what is on stays on.
func keepaliveOf(p Peer) time.Duration {
	if p.PersistentKeepalive <= 0 {
		return 0
	}
	return max(time.Second, p.PersistentKeepalive.Round(time.Second))
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func peersByKey(peers []Peer) map[wgkey.PublicKey]Peer {
	m := make(map[wgkey.PublicKey]Peer, len(peers))
	for _, p := range peers {
		m[p.PublicKey] = p
	}
	return m
}

func owners(peers []Peer) map[netip.Prefix]wgkey.PublicKey {
	m := make(map[netip.Prefix]wgkey.PublicKey)
	for _, p := range peers {
		for _, ip := range p.AllowedIPs {
			m[ip.Masked()] = p.PublicKey
		}
	}
	return m
}

func prefixSet(prefixes []netip.Prefix) map[netip.Prefix]bool {
	m := make(map[netip.Prefix]bool, len(prefixes))
	for _, p := range prefixes {
		m[p.Masked()] = true
	}
	return m
}

func compareKeys(a, b wgkey.PublicKey) int { return slices.CompareFunc(a[:], b[:], cmp.Compare[byte]) }
