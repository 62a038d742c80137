package userspace

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

var equal = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{}), cmpopts.EquateEmpty()}

func presharedKey(t *testing.T, n byte) wgkey.PresharedKey {
	t.Helper()
	k, err := wgkey.ParsePresharedKey(wgkey.PublicKey{n}.String())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParseState(t *testing.T) {
	zero := strings.Repeat("0", 64)
	text := "private_key=" + privateKey(t).RevealHex() + "\nlisten_port=51871\nfwmark=256\nnew_key=1\n" +
		"public_key=" + largest.Hex() + "\npreshared_key=" + presharedKey(t, 3).RevealHex() + "\nprotocol_version=1\nendpoint=[::ffff:192.0.2.1]:51871\n" +
		"last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\ntx_bytes=18446744073709551615\nrx_bytes=2\n" +
		"persistent_keepalive_interval=25\nallowed_ip=10.1.0.0/24\nallowed_ip=fd00::/64\nnew_key=x=y\n" +
		"public_key=" + smallest.Hex() + "\npreshared_key=" + zero + "\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\n"
	got, err := parseState(text)
	if err != nil {
		t.Fatal(err)
	}
	want := tunnel.Config{PrivateKey: privateKey(t), ListenPort: 51871, FirewallMark: 256, Peers: []tunnel.Peer{
		{
			PublicKey: largest, PresharedKey: presharedKey(t, 3), Endpoint: endpoint, PersistentKeepalive: 25 * time.Second,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00::/64")},
		},
		{PublicKey: smallest},
	}}
	if d := cmp.Diff(want, got.config, equal); d != "" {
		t.Errorf("config (-want +got):\n%s", d)
	}
	stats := []tunnel.PeerStats{
		{PublicKey: smallest},
		{PublicKey: largest, Endpoint: endpoint, LastHandshake: time.Unix(1700000000, 5), TxBytes: 1<<64 - 1, RxBytes: 2},
	}
	if d := cmp.Diff(stats, got.sorted(), equal); d != "" {
		t.Errorf("peers (-want +got):\n%s", d)
	}
}

func TestParseStateRefuses(t *testing.T) {
	peer := "public_key=" + largest.Hex() + "\n"
	for _, text := range []string{
		"nonsense\n", "private_key=secret\n", "private_key=" + strings.Repeat("x", 64) + "\n", "listen_port=70000\n", "fwmark=-1\n",
		"public_key=ab\n", peer + "preshared_key=secret\n", peer + "endpoint=nowhere\n", peer + "allowed_ip=nothing\n",
		peer + "rx_bytes=many\n", peer + "tx_bytes=-1\n", peer + "persistent_keepalive_interval=65536\n",
		peer + "last_handshake_time_sec=-5\n", peer + "last_handshake_time_nsec=x\n",
	} {
		_, err := parseState(text)
		if err == nil {
			t.Errorf("%q: no error", text)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "xxx") {
			t.Errorf("%q: the error shows the value: %v", text, err)
		}
	}
}

func FuzzParseState(f *testing.F) {
	f.Add("private_key=00\nlisten_port=1\n")
	f.Add("public_key=" + largest.Hex() + "\nendpoint=192.0.2.1:1\nallowed_ip=10.0.0.0/8\nlast_handshake_time_nsec=1\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseState(text)
		if err == nil && len(s.peers) != len(s.config.Peers) {
			t.Errorf("%d peers, %d of them with counters", len(s.config.Peers), len(s.peers))
		}
	})
}
