package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// equal compares addresses and keys by value.
var equal = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{}), cmpopts.EquateEmpty()}

func pub(n byte) wgkey.PublicKey { return wgkey.PublicKey{n} }

func private(t *testing.T, n byte) wgkey.PrivateKey {
	t.Helper()
	k, err := wgkey.NewPrivateKey(bytes.NewReader(bytes.Repeat([]byte{n}, wgkey.Size)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func nets(list ...string) []net.IPNet { return networks(prefixes(list...)) }

func TestPeersOf(t *testing.T) {
	dummy, keepalive, psk := pub(9), 25*time.Second, wgkey.NewPresharedKey([wgkey.Size]byte{7})
	key := func(n byte) wgtypes.Key { return wgtypes.Key{n} }
	for name, tc := range map[string]struct {
		changes tunnel.Changes
		want    []wgtypes.PeerConfig // all in one message
	}{
		"nothing": {},
		"new": {tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(1), New: true, PresharedKey: &psk, PersistentKeepalive: &keepalive,
			Endpoint: netip.MustParseAddrPort("192.0.2.1:5"), Added: prefixes("10.1.0.0/24", "fd00::/64")}}},
			[]wgtypes.PeerConfig{{PublicKey: key(1), PresharedKey: &wgtypes.Key{7}, PersistentKeepaliveInterval: &keepalive,
				Endpoint: &net.UDPAddr{IP: net.IP{192, 0, 2, 1}, Port: 5}, AllowedIPs: nets("10.1.0.0/24", "fd00::/64")}}},
		"preshared key off": {tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(1), PresharedKey: new(wgkey.PresharedKey)}}},
			[]wgtypes.PeerConfig{{PublicKey: key(1), UpdateOnly: true, PresharedKey: &wgtypes.Key{}}}},
		"a prefix goes, after all that are added, before a peer goes": {tunnel.Changes{
			Peers:   []tunnel.PeerChange{{PublicKey: pub(1), Removed: prefixes("10.1.0.0/24")}, {PublicKey: pub(2), Added: prefixes("10.2.0.0/24"), Removed: prefixes("fd00::/64")}},
			Removed: []wgkey.PublicKey{pub(3)},
		}, []wgtypes.PeerConfig{
			{PublicKey: key(1), UpdateOnly: true},
			{PublicKey: key(2), UpdateOnly: true, AllowedIPs: nets("10.2.0.0/24")},
			{PublicKey: key(9), AllowedIPs: nets("10.1.0.0/24", "fd00::/64")},
			{PublicKey: key(9), UpdateOnly: true, Remove: true},
			{PublicKey: key(3), UpdateOnly: true, Remove: true},
		}},
	} {
		var want []wgtypes.Config
		if tc.want != nil {
			want = []wgtypes.Config{{Peers: tc.want}}
		}
		if d := cmp.Diff(want, peersOf(tc.changes, dummy), equal); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// TestMessages: none is larger than wgctrl leaves alone, and nothing is lost or
// brought out of order.
func TestMessages(t *testing.T) {
	var c tunnel.Changes
	var want []string // key and prefix, in order
	prefix := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i)}), 24)
	}
	n := 0
	for i, count := range []int{1, 256, 257, 1000, 0, 300} {
		p := tunnel.PeerChange{PublicKey: pub(byte(i + 1)), New: true}
		for range count {
			p.Added = append(p.Added, prefix(n))
			want = append(want, fmt.Sprint(p.PublicKey[0], prefix(n)))
			n++
		}
		c.Peers = append(c.Peers, p)
	}
	for i := range 100 {
		c.Peers = append(c.Peers, tunnel.PeerChange{PublicKey: pub(byte(100 + i)), Added: []netip.Prefix{prefix(n)}})
		want = append(want, fmt.Sprint(100+i, prefix(n)))
		n++
	}
	var got []string
	seen := map[wgtypes.Key]bool{}
	for _, m := range peersOf(c, pub(99)) {
		prefixes := 0
		for _, p := range m.Peers {
			prefixes += len(p.AllowedIPs)
			for _, n := range p.AllowedIPs {
				is, err := prefixOf(n)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(p.PublicKey[0], is))
			}
			if later := seen[p.PublicKey]; later && !p.UpdateOnly {
				t.Errorf("peer %d is made again", p.PublicKey[0])
			}
			seen[p.PublicKey] = true
		}
		if len(m.Peers) > peersAtOnce || prefixes > prefixesAtOnce {
			t.Errorf("a message of %d peers, %d prefixes", len(m.Peers), prefixes)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("prefixes (-want +got):\n%s", d)
	}
}

func TestStateOf(t *testing.T) {
	at := time.Unix(1700000000, 5)
	own := private(t, 3)
	s, err := stateOf(&wgtypes.Device{
		PrivateKey: wgtypes.Key(own.Reveal()), ListenPort: 51871, FirewallMark: 7,
		Peers: []wgtypes.Peer{
			{PublicKey: wgtypes.Key{2}, Endpoint: &net.UDPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1}, PersistentKeepaliveInterval: 25 * time.Second},
			{PublicKey: wgtypes.Key{1}, PresharedKey: wgtypes.Key{9}, Endpoint: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 2},
				LastHandshakeTime: at, ReceiveBytes: 10, TransmitBytes: 11, AllowedIPs: nets("10.1.0.0/16", "fd00::/64", "0.0.0.0/0", "::/0")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e1, e2 := netip.MustParseAddrPort("192.0.2.1:2"), netip.MustParseAddrPort("[2001:db8::1]:1")
	want := state{
		config: tunnel.Config{PrivateKey: own, ListenPort: 51871, FirewallMark: 7, Peers: []tunnel.Peer{
			{PublicKey: pub(2), Endpoint: e2, PersistentKeepalive: 25 * time.Second},
			{PublicKey: pub(1), PresharedKey: wgkey.NewPresharedKey([wgkey.Size]byte{9}), Endpoint: e1, AllowedIPs: prefixes("10.1.0.0/16", "fd00::/64", "0.0.0.0/0", "::/0")},
		}},
		peers: []tunnel.PeerStats{{PublicKey: pub(1), Endpoint: e1, LastHandshake: at, RxBytes: 10, TxBytes: 11}, {PublicKey: pub(2), Endpoint: e2}},
	}
	if d := cmp.Diff(want, s, equal, cmp.AllowUnexported(state{})); d != "" {
		t.Errorf("state (-want +got):\n%s", d)
	}
	if _, err := stateOf(&wgtypes.Device{Peers: []wgtypes.Peer{{AllowedIPs: []net.IPNet{{}}}}}); err == nil {
		t.Error("a prefix of no family is taken")
	}
}

// TestForeign: what is not ours is named, with the ways out.
func TestForeign(t *testing.T) {
	for _, tc := range []struct {
		kind, alias string
		want        []string
	}{
		{"wireguard", Mark, nil},
		{"tuntap", "", []string{"a tuntap link wg7 exists", "another interface", "ip link delete wg7"}},
		{"wireguard", "", []string{"a WireGuard link wg7 exists that is not wgsteer's", "another interface", "ip link delete wg7", "ip link set wg7 alias wgsteer"}},
		{"wireguard", "home", []string{`"home"`}},
	} {
		err := foreign("wg7", tc.kind, tc.alias)
		if (err == nil) != (tc.want == nil) {
			t.Errorf("%s %q: %v", tc.kind, tc.alias, err)
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s %q: %v, want %q in it", tc.kind, tc.alias, err, w)
			}
		}
	}
}

// TestEndpointsOf: it keeps no secret, and tells Diff as much as the whole.
func TestEndpointsOf(t *testing.T) {
	there := netip.MustParseAddrPort("192.0.2.1:1")
	config := tunnel.Config{PrivateKey: private(t, 1), ListenPort: 1, Peers: []tunnel.Peer{
		{PublicKey: pub(1), PresharedKey: wgkey.NewPresharedKey([wgkey.Size]byte{9}), Endpoint: there, AllowedIPs: prefixes("10.1.0.0/16")}, {PublicKey: pub(2)},
	}}
	kept := endpointsOf(config)
	if want := (tunnel.Config{Peers: []tunnel.Peer{{PublicKey: pub(1), Endpoint: there}, {PublicKey: pub(2)}}}); !cmp.Equal(want, kept, equal) {
		t.Errorf("kept (-want +got):\n%s", cmp.Diff(want, kept, equal))
	}
	now := config.Clone()
	now.Peers[0].Endpoint = netip.MustParseAddrPort("198.51.100.9:9") // it roamed
	if c := tunnel.Diff(now.AsConfigured(kept), config); !c.Empty() {
		t.Errorf("changes %+v", c)
	}
}

// TestIsStray: what was being made, and nothing that anybody uses.
func TestIsStray(t *testing.T) {
	for _, tc := range []struct {
		name, kind, alias string
		up, stray         bool
	}{
		{"wgsteer-0123abc", "wireguard", "", false, true},
		{"wgsteer-0123abc", "wireguard", Mark, false, true},
		{"wgsteer-0123abc", "wireguard", Mark, true, false},
		{"wgsteer-0123abc", "wireguard", "mine", false, false},
		{"wgsteer-0123abc", "dummy", "", false, false},
		{"wgsteer-office1", "wireguard", "", false, false},
		{"wgsteer0", "wireguard", Mark, false, false},
	} {
		if is := isStray(tc.name, tc.kind, tc.alias, tc.up); is != tc.stray {
			t.Errorf("%+v: %v", tc, is)
		}
	}
}

func TestUnavailable(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want []string
	}{
		{unavailable(unix.EOPNOTSUPP), []string{"this kernel has no WireGuard", "operation not supported", "modprobe wireguard", "another backend"}},
		{unavailable(unix.EPERM), []string{"CAP_NET_ADMIN", "run it as root"}},
		{unavailable(unix.ENOMEM), []string{"cannot allocate memory", "dmesg"}},
		{noFamily(), []string{"generic netlink family wireguard", "modprobe"}},
	} {
		if _, ok := errors.AsType[*Unavailable](tc.err); !ok {
			t.Errorf("%v is no Unavailable", tc.err)
		}
		for _, w := range append(tc.want, "make a kernel WireGuard link: ") {
			if !strings.Contains(tc.err.Error(), w) {
				t.Errorf("%v, want %q in it", tc.err, w)
			}
		}
	}
}

func TestThreadedNote(t *testing.T) {
	for value, noted := range map[string]bool{"": false, "0": false, "1": true, "2": true} {
		if note := threadedNote("wg7", value); (note != "") != noted || noted && !strings.Contains(note, "/sys/class/net/wg7/threaded") {
			t.Errorf("%q: %q", value, note)
		}
	}
}
