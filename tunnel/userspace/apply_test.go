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
