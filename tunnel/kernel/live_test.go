package kernel

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// isolated is for tests of a live link: a namespace of their own, and a kernel that
// has WireGuard.
func isolated(t *testing.T) bool {
	t.Helper()
	if !privtest.Isolate(t) {
		return false
	}
	needWireGuard(t)
	return true
}

// TestApplyLeads: after each of random configurations the link is what it says, and
// a second time nothing is to be done.
func TestApplyLeads(t *testing.T) {
	if !isolated(t) {
		return
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h := privtest.NewHost(t, unix.CLONE_NEWNET)
	tun, _ := start(t, h, Options{Interface: "wga"})
	if err := tun.Apply(t.Context(), tunnel.Config{}); err == nil {
		t.Error("a configuration without a key is taken")
	}
	for range 40 {
		want := randomConfig(t, r)
		if err := tun.Apply(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(endpointsOf(want), tun.last, equal); d != "" {
			t.Fatalf("kept of the configuration (-want +got):\n%s", d)
		}
		err := tun.with(func(d *device) error {
			s, err := d.read()
			if err != nil {
				return err
			}
			link, err := d.link()
			s.config.MTU = link.Attrs().MTU
			if c := tunnel.Diff(s.config, want); !c.Empty() {
				t.Fatalf("the link lacks %+v", c)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func randomConfig(t *testing.T, r *rand.Rand) tunnel.Config {
	c := tunnel.Config{PrivateKey: private(t, byte(r.IntN(2)+1)), ListenPort: uint16(51000 + r.IntN(3)), FirewallMark: uint32(r.IntN(2)), MTU: 1300 + r.IntN(2)}
	n := 1 + r.IntN(4)
	for i := range n {
		p := tunnel.Peer{PublicKey: private(t, byte(10+i)).Public(), PersistentKeepalive: time.Duration(r.IntN(2)) * 25 * time.Second}
		if r.IntN(2) == 0 {
			p.PresharedKey = wgkey.NewPresharedKey([wgkey.Size]byte{byte(1 + r.IntN(3))})
		}
		if r.IntN(3) > 0 {
			p.Endpoint = netip.MustParseAddrPort([]string{"192.0.2.7:1", "[2001:db8::7]:2"}[r.IntN(2)])
		}
		c.Peers = append(c.Peers, p)
	}
	for i := range 600 {
		if p := r.IntN(n + 1); p < n {
			c.Peers[p].AllowedIPs = append(c.Peers[p].AllowedIPs,
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(i >> 8)}), 24), netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, byte(i), byte(i >> 8)}), 64))
		}
	}
	return c
}

// TestPrefixesMoveWithoutLoss: a stream goes on while prefixes around its own come,
// go and move, on both sides.
func TestPrefixesMoveWithoutLoss(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	connect(t, a, b)
	s := startStream(t, a, b)
	other := tunnel.Peer{PublicKey: private(t, 9).Public()}
	changes := 0
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); changes++ {
		for _, e := range [][2]*end{{a, b}, {b, a}} {
			c := e[0].to(e[1])
			var moving []netip.Prefix
			for i := range 50 {
				moving = append(moving, netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", 9+i, changes%7)))
			}
			o := other
			switch changes % 3 { // the peer's, another's, nobody's
			case 0:
				c.Peers[0].AllowedIPs = append(c.Peers[0].AllowedIPs, moving...)
			case 1:
				o.AllowedIPs = moving
			}
			if changes%2 == 0 {
				c.Peers = append(c.Peers, o)
			}
			e[0].apply(t, c)
		}
	}
	sent, lost := s.end()
	t.Logf("%d packets, %d changes on each side", sent, changes)
	if lost != 0 || sent == 0 || changes < 3 {
		t.Errorf("%d of %d packets are lost over %d changes", lost, sent, changes)
	}
	for _, e := range []*end{a, b} {
		if n := len(e.stats(t).Peers); n > 2 {
			t.Errorf("%s has %d peers: a dummy is left", e.name, n)
		}
	}
}

// TestGreet: a handshake without a packet, and the interval as configured after it.
func TestGreet(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	for _, interval := range []time.Duration{0, 25 * time.Second} {
		t.Run(interval.String(), func(t *testing.T) {
			from, to := a.to(b), b.to(a)
			from.Peers[0].PersistentKeepalive = interval
			b.apply(t, tunnel.Config{PrivateKey: b.key, ListenPort: port})
			a.apply(t, tunnel.Config{PrivateKey: a.key, ListenPort: port})
			to.Peers[0].Endpoint = netip.AddrPort{} // b can only be heard by a
			b.apply(t, to)
			a.apply(t, from) // greets the new peer
			until(t, "handshake", func() bool { return !a.peer(t, b).LastHandshake.IsZero() })
			before := a.peer(t, b)
			if err := a.tunnel.Greet(b.key.Public()); err != nil {
				t.Fatal(err)
			}
			until(t, "keepalive", func() bool { return a.peer(t, b).TxBytes > before.TxBytes })
			if is := a.Sh(t, "wg show wga persistent-keepalive"); !strings.Contains(is, map[time.Duration]string{0: "off", 25 * time.Second: "25"}[interval]) {
				t.Errorf("persistent keepalive %q", is)
			}
		})
	}
	if err := a.tunnel.Greet(pub(77)); err == nil || !strings.Contains(err.Error(), "no such peer") {
		t.Errorf("greeting a stranger: %v", err)
	}
}
