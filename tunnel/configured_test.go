package tunnel_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// A peer that roamed keeps its place until the configuration moves it.
func TestAsConfigured(t *testing.T) {
	endpoint, roamed, moved := netip.MustParseAddrPort("192.0.2.1:51871"), netip.MustParseAddrPort("198.51.100.9:9"), netip.MustParseAddrPort("203.0.113.1:1")
	now := tunnel.Config{Peers: []tunnel.Peer{{PublicKey: pub(1), Endpoint: roamed}, {PublicKey: pub(2), Endpoint: roamed}}}
	have := now.AsConfigured(tunnel.Config{Peers: []tunnel.Peer{{PublicKey: pub(1), Endpoint: endpoint}}})
	for name, tc := range map[string]struct {
		want tunnel.Peer
		set  netip.AddrPort // zero: left alone
	}{
		"as configured before":         {tunnel.Peer{PublicKey: pub(1), Endpoint: endpoint}, netip.AddrPort{}},
		"configured elsewhere":         {tunnel.Peer{PublicKey: pub(1), Endpoint: moved}, moved},
		"no longer configured":         {tunnel.Peer{PublicKey: pub(1)}, netip.AddrPort{}},
		"added by wg":                  {tunnel.Peer{PublicKey: pub(2), Endpoint: moved}, moved},
		"added by wg, at the endpoint": {tunnel.Peer{PublicKey: pub(2), Endpoint: roamed}, netip.AddrPort{}},
	} {
		c := tunnel.Diff(have, tunnel.Config{Peers: []tunnel.Peer{tc.want}})
		var set netip.AddrPort
		for _, p := range c.Peers {
			set = p.Endpoint
		}
		if set != tc.set {
			t.Errorf("%s: sets %v, want %v", name, set, tc.set)
		}
	}
	if now.Peers[0].Endpoint != roamed {
		t.Error("AsConfigured changed its receiver")
	}
}

func TestGreetings(t *testing.T) {
	config := tunnel.Config{Peers: []tunnel.Peer{{PublicKey: pub(1)}, {PublicKey: pub(2)}}}
	one := func(p tunnel.PeerChange) tunnel.Changes { return tunnel.Changes{Peers: []tunnel.PeerChange{p}} }
	for name, tc := range map[string]struct {
		changes tunnel.Changes
		want    map[wgkey.PublicKey]bool
	}{
		"nothing":      {tunnel.Changes{}, nil},
		"new":          {one(tunnel.PeerChange{PublicKey: pub(1), New: true}), map[wgkey.PublicKey]bool{pub(1): true}},
		"endpoint":     {one(tunnel.PeerChange{PublicKey: pub(1), Endpoint: netip.MustParseAddrPort("192.0.2.1:1")}), map[wgkey.PublicKey]bool{pub(1): false}},
		"allowed IPs":  {one(tunnel.PeerChange{PublicKey: pub(1), Added: prefixes("::/0")}), nil},
		"own key anew": {tunnel.Changes{PrivateKey: ptr(private(t, 9))}, map[wgkey.PublicKey]bool{pub(1): true, pub(2): true}},
	} {
		if d := cmp.Diff(tc.want, tc.changes.Greetings(config), equal); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
