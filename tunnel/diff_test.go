package tunnel_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// equal compares keys, prefixes and addresses by value.
var equal = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{}), cmpopts.EquateEmpty()}

func pub(n byte) wgkey.PublicKey { return wgkey.PublicKey{n} }

func private(t *testing.T, n byte) wgkey.PrivateKey {
	t.Helper()
	k, err := wgkey.NewPrivateKey(bytes.NewReader(bytes.Repeat([]byte{n}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func psk(t *testing.T, n byte) wgkey.PresharedKey {
	t.Helper()
	k, err := wgkey.ParsePresharedKey(wgkey.PublicKey{n}.String())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func ptr[T any](v T) *T { return &v }

// base is the configuration that most cases change.
func base(t *testing.T) tunnel.Config {
	return tunnel.Config{
		PrivateKey: private(t, 9), ListenPort: 51871, MTU: 1420,
		Peers: []tunnel.Peer{
			{PublicKey: pub(1), Endpoint: netip.MustParseAddrPort("192.0.2.1:51871"), AllowedIPs: prefixes("10.1.0.0/24", "fd00:1::/64")},
			{PublicKey: pub(2), Endpoint: netip.MustParseAddrPort("[2001:db8::2]:51871"), AllowedIPs: prefixes("10.2.0.0/24"), PresharedKey: psk(t, 7), PersistentKeepalive: 25 * time.Second},
		},
	}
}

func TestDiff(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*tunnel.Config)
		want   tunnel.Changes
	}{
		{"nothing", func(*tunnel.Config) {}, tunnel.Changes{}},
		{"order", func(c *tunnel.Config) {
			c.Peers[0], c.Peers[1] = c.Peers[1], c.Peers[0]
			c.Peers[1].AllowedIPs = prefixes("fd00:1::/64", "10.1.0.0/24")
		}, tunnel.Changes{}},
		{"same prefix, bits of the host set", func(c *tunnel.Config) { c.Peers[1].AllowedIPs = prefixes("10.2.0.77/24", "10.2.0.0/24") }, tunnel.Changes{}},
		{"same endpoint, IPv4 mapped", func(c *tunnel.Config) { c.Peers[0].Endpoint = netip.MustParseAddrPort("[::ffff:192.0.2.1]:51871") }, tunnel.Changes{}},
		{"keepalive rounds to the same", func(c *tunnel.Config) { c.Peers[1].PersistentKeepalive = 25*time.Second + 499*time.Millisecond }, tunnel.Changes{}},
		{"port and MTU left open", func(c *tunnel.Config) { c.ListenPort, c.MTU = 0, 0 }, tunnel.Changes{}},
		{"device", func(c *tunnel.Config) {
			c.PrivateKey, c.ListenPort, c.FirewallMark, c.MTU = private(t, 8), 51872, 0x100, 1300
		}, tunnel.Changes{PrivateKey: ptr(private(t, 8)), ListenPort: ptr(uint16(51872)), FirewallMark: ptr(uint32(0x100)), MTU: ptr(1300)}},
		{"peer added", func(c *tunnel.Config) {
			c.Peers = append(c.Peers, tunnel.Peer{PublicKey: pub(3), Endpoint: netip.MustParseAddrPort("192.0.2.3:1"), AllowedIPs: prefixes("10.3.0.0/24"), PresharedKey: psk(t, 3), PersistentKeepalive: time.Millisecond})
		}, tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(3), New: true, Endpoint: netip.MustParseAddrPort("192.0.2.3:1"), Added: prefixes("10.3.0.0/24"), PresharedKey: ptr(psk(t, 3)), PersistentKeepalive: ptr(time.Second)}}}},
		{"peer added with nothing", func(c *tunnel.Config) { c.Peers = append(c.Peers, tunnel.Peer{PublicKey: pub(3)}) },
			tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(3), New: true}}}},
		{"peers removed", func(c *tunnel.Config) { c.Peers = nil }, tunnel.Changes{Removed: []wgkey.PublicKey{pub(1), pub(2)}}},
		{"endpoint", func(c *tunnel.Config) { c.Peers[0].Endpoint = netip.MustParseAddrPort("192.0.2.9:51871") },
			tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(1), Endpoint: netip.MustParseAddrPort("192.0.2.9:51871")}}}},
		{"endpoint no longer configured", func(c *tunnel.Config) { c.Peers[0].Endpoint = netip.AddrPort{} }, tunnel.Changes{}},
		{"allowed IPs", func(c *tunnel.Config) { c.Peers[0].AllowedIPs = prefixes("10.1.0.0/24", "10.9.0.0/16", "10.8.0.0/16") },
			tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(1), Added: prefixes("10.8.0.0/16", "10.9.0.0/16"), Removed: prefixes("fd00:1::/64")}}}},
		{"prefix moves, nobody removes it", func(c *tunnel.Config) {
			c.Peers[0].AllowedIPs = prefixes("10.1.0.0/24")
			c.Peers[1].AllowedIPs = prefixes("10.2.0.0/24", "fd00:1::/64")
		}, tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(2), Added: prefixes("fd00:1::/64")}}}},
		{"prefixes swap", func(c *tunnel.Config) {
			c.Peers[0].AllowedIPs, c.Peers[1].AllowedIPs = c.Peers[1].AllowedIPs, c.Peers[0].AllowedIPs
		}, tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(1), Added: prefixes("10.2.0.0/24")}, {PublicKey: pub(2), Added: prefixes("10.1.0.0/24", "fd00:1::/64")}}}},
		{"node has a new key, prefixes move before it goes", func(c *tunnel.Config) { c.Peers[0].PublicKey = pub(5) },
			tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(5), New: true, Endpoint: netip.MustParseAddrPort("192.0.2.1:51871"), Added: prefixes("10.1.0.0/24", "fd00:1::/64")}}, Removed: []wgkey.PublicKey{pub(1)}}},
		{"psk and keepalive off", func(c *tunnel.Config) {
			c.Peers[1].PresharedKey, c.Peers[1].PersistentKeepalive = wgkey.PresharedKey{}, 0
		}, tunnel.Changes{Peers: []tunnel.PeerChange{{PublicKey: pub(2), PresharedKey: &wgkey.PresharedKey{}, PersistentKeepalive: ptr(time.Duration(0))}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := base(t)
			tc.change(&want)
			got := tunnel.Diff(base(t), want)
			if d := cmp.Diff(tc.want, got, equal); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
			if got.Empty() != tc.want.Empty() {
				t.Errorf("Empty() = %v", got.Empty())
			}
			if err := want.Validate(); err != nil {
				t.Errorf("the case is no valid configuration: %v", err)
			}
		})
	}
}

func TestDiffTakesUnclampedKeysForTheSame(t *testing.T) {
	b := private(t, 9).Reveal()
	b[0] |= 1 // a bit that X25519 ignores
	loose, err := wgkey.ParsePrivateKey(wgkey.PublicKey(b).String())
	if err != nil {
		t.Fatal(err)
	}
	want := base(t)
	want.PrivateKey = loose
	if got := tunnel.Diff(base(t), want); !got.Empty() {
		t.Errorf("changes: %+v", got)
	}
}

// TestDiffLeads plays the changes of random pairs of configurations on a model
// of WireGuard's own rules and looks whether the second comes out, with no
// moment at which a prefix that both have has no owner.
func TestDiffLeads(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		have, want := randomConfig(r), randomConfig(r)
		model := owners(have)
		wanted := owners(want)
		keep := func(step string) {
			for p := range wanted {
				if _, had := owners(have)[p]; had {
					if _, ok := model[p]; !ok {
						t.Fatalf("%s: %s has no owner\nhave %+v\nwant %+v", step, p, have, want)
					}
				}
			}
		}
		c := tunnel.Diff(have, want)
		for _, p := range c.Peers {
			for _, ip := range p.Removed {
				if model[ip] == p.PublicKey {
					delete(model, ip)
				}
				keep("removing a prefix")
			}
			for _, ip := range p.Added {
				model[ip] = p.PublicKey
				keep("adding a prefix")
			}
		}
		for _, k := range c.Removed {
			for ip, owner := range model {
				if owner == k {
					delete(model, ip)
				}
			}
			keep("removing a peer")
		}
		if d := cmp.Diff(wanted, model, equal); d != "" {
			t.Fatalf("the changes lead elsewhere (-want +got):\n%s\nhave %+v\nwant %+v", d, have, want)
		}
		if again := tunnel.Diff(want, want); !again.Empty() {
			t.Fatalf("a second time changes something: %+v", again)
		}
	}
}

func randomConfig(r *rand.Rand) tunnel.Config {
	peers := make([]tunnel.Peer, r.IntN(5))
	for i, k := range r.Perm(6)[:len(peers)] {
		peers[i].PublicKey = pub(byte(k + 1))
	}
	for p := range 8 {
		if n := r.IntN(len(peers) + 1); n < len(peers) {
			peers[n].AllowedIPs = append(peers[n].AllowedIPs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(p)}), 16+p%2*8))
		}
	}
	return tunnel.Config{Peers: peers}
}

func owners(c tunnel.Config) map[netip.Prefix]wgkey.PublicKey {
	m := make(map[netip.Prefix]wgkey.PublicKey)
	for _, p := range c.Peers {
		for _, ip := range p.AllowedIPs {
			m[ip] = p.PublicKey
		}
	}
	return m
}

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*tunnel.Config)
		want   []string // parts of the error
	}{
		"no key":           {func(c *tunnel.Config) { c.PrivateKey = wgkey.PrivateKey{} }, []string{"no private key"}},
		"MTU":              {func(c *tunnel.Config) { c.MTU = 500 }, []string{"MTU 500", "576"}},
		"duplicate":        {func(c *tunnel.Config) { c.Peers[1].PublicKey = pub(1) }, []string{pub(1).String(), "twice"}},
		"own key":          {func(c *tunnel.Config) { c.Peers[1].PublicKey = c.PrivateKey.Public() }, []string{"own public key"}},
		"peer without key": {func(c *tunnel.Config) { c.Peers[1].PublicKey = wgkey.PublicKey{} }, []string{"no public key"}},
		"prefix of two": {func(c *tunnel.Config) { c.Peers[1].AllowedIPs = prefixes("10.1.0.9/24") },
			[]string{pub(2).String(), "10.1.0.0/24", "claimed by peer " + pub(1).String()}},
		"invalid prefix":     {func(c *tunnel.Config) { c.Peers[1].AllowedIPs = []netip.Prefix{{}} }, []string{"not an IPv4 or IPv6 prefix"}},
		"mapped prefix":      {func(c *tunnel.Config) { c.Peers[1].AllowedIPs = prefixes("::ffff:10.0.0.0/104") }, []string{"not an IPv4 or IPv6 prefix"}},
		"endpoint port":      {func(c *tunnel.Config) { c.Peers[0].Endpoint = netip.MustParseAddrPort("192.0.2.1:0") }, []string{"192.0.2.1:0", "no port"}},
		"endpoint address":   {func(c *tunnel.Config) { c.Peers[0].Endpoint = netip.MustParseAddrPort("0.0.0.0:1") }, []string{"0.0.0.0:1", "not an address"}},
		"keepalive":          {func(c *tunnel.Config) { c.Peers[0].PersistentKeepalive = 20 * time.Hour }, []string{"20h0m0s"}},
		"two errors at once": {func(c *tunnel.Config) { c.MTU = 1; c.Peers[0].PersistentKeepalive = -1 }, []string{"MTU 1", "keepalive -1ns"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := base(t)
			tc.change(&c)
			err := c.Validate()
			if err == nil {
				t.Fatal("valid")
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}
