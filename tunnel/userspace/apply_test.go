package userspace

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

func TestUAPIText(t *testing.T) {
	keepalive, mark, psk, none := 25*time.Second, uint32(7), presharedKey(t, 3), wgkey.PresharedKey{}
	key := privateKey(t)
	prefix4, prefix6 := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}, []netip.Prefix{netip.MustParsePrefix("fd00::/64")}
	add := tunnel.PeerChange{PublicKey: largest, New: true, PresharedKey: &psk, Endpoint: endpoint, PersistentKeepalive: &keepalive, Added: prefix4}
	change := tunnel.PeerChange{PublicKey: largest, PresharedKey: &none, Removed: prefix4, Added: prefix6}
	got := identityText(tunnel.Changes{PrivateKey: &key, FirewallMark: &mark}) + portText(9) + peerText(add) + peerText(change) + removalText(smallest)
	want := "private_key=" + key.RevealHex() + "\nfwmark=7\nlisten_port=9\n" +
		"public_key=" + largest.Hex() + "\npreshared_key=" + psk.RevealHex() + "\nendpoint=192.0.2.1:51871\npersistent_keepalive_interval=25\nallowed_ip=10.1.0.0/24\n" +
		"public_key=" + largest.Hex() + "\nupdate_only=true\npreshared_key=" + strings.Repeat("0", 64) + "\nallowed_ip=-10.1.0.0/24\nallowed_ip=fd00::/64\n" +
		"public_key=" + smallest.Hex() + "\nupdate_only=true\nremove=true\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("text (-want +got):\n%s", d)
	}
	if text := identityText(tunnel.Changes{}); text != "" {
		t.Errorf("nothing to change is %q", text)
	}
}

// A peer that roamed keeps its place until the configuration moves it.
func TestPresentEndpoint(t *testing.T) {
	roamed, moved := netip.MustParseAddrPort("198.51.100.9:9"), netip.MustParseAddrPort("203.0.113.1:1")
	now := tunnel.Config{Peers: []tunnel.Peer{{PublicKey: largest, Endpoint: roamed}, {PublicKey: smallest, Endpoint: roamed}}}
	last := tunnel.Config{Peers: []tunnel.Peer{{PublicKey: largest, Endpoint: endpoint}}}
	have := present(now, 1420, last)
	for name, tc := range map[string]struct {
		want tunnel.Peer
		set  netip.AddrPort // zero: left alone
	}{
		"as configured before":         {tunnel.Peer{PublicKey: largest, Endpoint: endpoint}, netip.AddrPort{}},
		"configured elsewhere":         {tunnel.Peer{PublicKey: largest, Endpoint: moved}, moved},
		"no longer configured":         {tunnel.Peer{PublicKey: largest}, netip.AddrPort{}},
		"added by wg":                  {tunnel.Peer{PublicKey: smallest, Endpoint: moved}, moved},
		"added by wg, at the endpoint": {tunnel.Peer{PublicKey: smallest, Endpoint: roamed}, netip.AddrPort{}},
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
		t.Error("present changed its argument")
	}
}

func TestToGreet(t *testing.T) {
	key := privateKey(t)
	config := tunnel.Config{Peers: []tunnel.Peer{{PublicKey: largest}, {PublicKey: smallest}}}
	one := func(p tunnel.PeerChange) tunnel.Changes { return tunnel.Changes{Peers: []tunnel.PeerChange{p}} }
	for name, tc := range map[string]struct {
		changes tunnel.Changes
		want    map[wgkey.PublicKey]bool
	}{
		"nothing":      {tunnel.Changes{}, nil},
		"new":          {one(tunnel.PeerChange{PublicKey: largest, New: true}), map[wgkey.PublicKey]bool{largest: true}},
		"endpoint":     {one(tunnel.PeerChange{PublicKey: largest, Endpoint: endpoint}), map[wgkey.PublicKey]bool{largest: false}},
		"allowed IPs":  {one(tunnel.PeerChange{PublicKey: largest, Added: []netip.Prefix{netip.MustParsePrefix("::/0")}}), nil},
		"own key anew": {tunnel.Changes{PrivateKey: &key}, map[wgkey.PublicKey]bool{largest: true, smallest: true}},
	} {
		if d := cmp.Diff(tc.want, toGreet(tc.changes, config), equal); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
