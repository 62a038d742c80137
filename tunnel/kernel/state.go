package kernel

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// state is what the kernel says of a device. It holds secrets: nobody keeps one.
type state struct {
	config tunnel.Config      // endpoints as of now; without MTU
	peers  []tunnel.PeerStats // sorted by public key
}

func stateOf(d *wgtypes.Device) (state, error) {
	s := state{config: tunnel.Config{ListenPort: uint16(d.ListenPort), FirewallMark: uint32(d.FirewallMark)}}
	if d.PrivateKey != (wgtypes.Key{}) {
		var err error
		if s.config.PrivateKey, err = wgkey.NewPrivateKey(bytes.NewReader(d.PrivateKey[:])); err != nil { // the kernel has clamped it as well
			return state{}, err
		}
	}
	for _, p := range d.Peers {
		endpoint := endpointOf(p.Endpoint)
		peer := tunnel.Peer{
			PublicKey: wgkey.PublicKey(p.PublicKey), PresharedKey: wgkey.NewPresharedKey(p.PresharedKey),
			Endpoint: endpoint, PersistentKeepalive: p.PersistentKeepaliveInterval,
		}
		for _, n := range p.AllowedIPs {
			prefix, err := prefixOf(n)
			if err != nil {
				return state{}, fmt.Errorf("peer %s: %w", peer.PublicKey, err)
			}
			peer.AllowedIPs = append(peer.AllowedIPs, prefix)
		}
		s.config.Peers = append(s.config.Peers, peer)
		s.peers = append(s.peers, tunnel.PeerStats{
			PublicKey: peer.PublicKey, Endpoint: endpoint, LastHandshake: p.LastHandshakeTime,
			RxBytes: uint64(p.ReceiveBytes), TxBytes: uint64(p.TransmitBytes),
		})
	}
	slices.SortFunc(s.peers, func(a, b tunnel.PeerStats) int { return bytes.Compare(a.PublicKey[:], b.PublicKey[:]) })
	return s, nil
}

// endpointOf is the zero value where there is none.
func endpointOf(a *net.UDPAddr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

func prefixOf(n net.IPNet) (netip.Prefix, error) {
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, fmt.Errorf("allowed IP %v: not a prefix", n)
	}
	if bits == 32 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, ones).Masked(), nil
}

// byKey are the peers' counters.
func (s state) byKey() map[wgkey.PublicKey]tunnel.PeerStats {
	m := make(map[wgkey.PublicKey]tunnel.PeerStats, len(s.peers))
	for _, p := range s.peers {
		m[p.PublicKey] = p
	}
	return m
}
