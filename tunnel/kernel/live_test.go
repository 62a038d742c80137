package kernel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

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
	h := newHost(t)
	tun, _ := start(t, h, Options{Interface: "wga"})
	if err := tun.Apply(t.Context(), tunnel.Config{}); err == nil {
		t.Error("a configuration without a key is taken")
	}
	for range 40 {
		want := randomConfig(t, r)
		if err := tun.Apply(t.Context(), want); err != nil {
			t.Fatal(err)
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
			if is := a.sh(t, "wg show wga persistent-keepalive"); !strings.Contains(is, map[time.Duration]string{0: "off", 25 * time.Second: "25"}[interval]) {
				t.Errorf("persistent keepalive %q", is)
			}
		})
	}
	if err := a.tunnel.Greet(pub(77)); err == nil || !strings.Contains(err.Error(), "no such peer") {
		t.Errorf("greeting a stranger: %v", err)
	}
}

// TestStats: what one side sends the other receives, and losses have names.
func TestStats(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	connect(t, a, b)
	before := b.stats(t)
	s := startStream(t, a, b)
	time.Sleep(50 * pace)
	sent, lost := s.end()
	if lost != 0 {
		t.Fatalf("%d of %d lost", lost, sent)
	}
	sa, sb := a.stats(t), b.stats(t)
	if n := sb.FromUDP.Packets - before.FromUDP.Packets; n < uint64(sent) || sa.ToUDP.Packets < n {
		t.Errorf("%d sent, %d of %d messages received", sent, n, sa.ToUDP.Packets)
	}
	if sb.PublicKey != b.key.Public() || sb.ListenPort != port || sa.Peers[0].TxBytes < uint64(sent)*36 || sb.Peers[0].RxBytes < uint64(sent)*36 {
		t.Errorf("a %+v\nb %+v", sa, sb)
	}
	a.do(func() {
		c, err := net.Dial("udp", "10.7.7.7:9") // nobody's
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write([]byte("x")) // the kernel says that no peer has it
	})
	if n := a.stats(t).Drops[DropLinkTxError]; n == 0 {
		t.Errorf("a packet that no peer takes: drops %v", a.stats(t).Drops)
	}
	link, err := a.tunnel.Link()
	if err != nil || link.Name != "wga" || link.MTU != 1400 || link.Index == 0 {
		t.Errorf("link %+v, %v", link, err)
	}
}

// TestForeignLinks: a link of the name that is not ours stays as it is.
func TestForeignLinks(t *testing.T) {
	if !isolated(t) {
		return
	}
	h := newHost(t)
	for _, kind := range []string{"dummy", "wireguard"} {
		h.sh(t, "ip link add wgx type %s", kind)
		before := h.sh(t, "ip -d link show wgx")
		tun, err := New(Options{Interface: "wgx"})
		if err != nil {
			t.Fatal(err)
		}
		h.do(func() { err = tun.Run(t.Context()) })
		if err == nil || !strings.Contains(err.Error(), "ip link delete wgx") {
			t.Errorf("%s: %v", kind, err)
		}
		h.do(func() {
			if found, _, err := Find("wgx"); err != nil || found != (tunnel.Link{}) {
				t.Errorf("%s: found %v, %v", kind, found, err)
			}
			if removed, err := Remove("wgx"); err != nil || removed {
				t.Errorf("%s: removed %v, %v", kind, removed, err)
			}
		})
		if after := h.sh(t, "ip -d link show wgx"); after != before {
			t.Errorf("%s: was %s, is %s", kind, before, after)
		}
		h.sh(t, "ip link delete wgx")
	}
}

// TestProbeLeavesNothing, and nothing where it was not called.
func TestProbeLeavesNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	h, other := newHost(t), newHost(t)
	h.do(func() {
		if err := Probe(); err != nil {
			t.Error(err)
		}
	})
	for _, o := range []*host{h, other} {
		if links := o.links(t); links != "lo" {
			t.Errorf("links %s", links)
		}
	}
}

// TestLinkThatGoes: set down it is up again; deleted, Run ends and says so.
func TestLinkThatGoes(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	connect(t, a, b)
	was := a.peer(t, b).LastHandshake
	a.sh(t, "ip link set wga down")
	until(t, "new session", func() bool { return a.peer(t, b).LastHandshake.After(was) })

	h := newHost(t)
	tun, err := New(Options{Interface: "wgx"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	h.do(func() { go inNamespace(h.tid, func() { ended <- tun.Run(ctx) }) })
	<-tun.Ready()
	h.sh(t, "ip link delete wgx")
	if err := <-ended; !errors.Is(err, ErrGone) {
		t.Errorf("Run: %v", err)
	}
	if _, err := tun.Stats(); !errors.Is(err, tunnel.ErrNotRunning) {
		t.Errorf("Stats after it: %v", err)
	}
}

// TestPortTaken: the old port stays.
func TestPortTaken(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	connect(t, a, b)
	start(t, a.host, Options{Interface: "wgx"})
	a.sh(t, "wg set wgx listen-port 999")
	c := a.to(b)
	c.ListenPort = 999
	if err := a.tunnel.Apply(t.Context(), c); err == nil || !strings.Contains(err.Error(), "999") {
		t.Errorf("a port that is taken: %v", err)
	}
	if is := a.stats(t).ListenPort; is != port {
		t.Errorf("port %d", is)
	}
}
