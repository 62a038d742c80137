package interop_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/wgkey"
)

// A flood comes in bursts, more of them than either implementation queues
// before it is under load (wireguard-go: 128, the kernel: 512), and often
// enough: it then is for 1 s.
const (
	floodBurst = 1500
	floodEvery = 300 * time.Millisecond
)

// flooder is a third party on a host's wire.
func (e end) flooder() end { return end{Host: e.Host, n: e.n + 20, port: 4711} }

// flood sends initiations to a target until the test ends. They are void, but
// only a handshake's work tells: the first MAC, which needs no secret, is right.
func flood(t *testing.T, from end, target netip.AddrPort, key wgkey.PublicKey) {
	t.Helper()
	// Deprecated, so that nobody else on that host takes it for a source.
	from.Sh(t, "ip addr add %v/24 dev eth0; ip addr add %v/64 dev eth0 nodad preferred_lft 0", from.outer4(), from.outer6())
	source := from.outer(target.Addr().Is6())
	var c *net.UDPConn
	var err error
	from.Do(func() {
		c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(source), net.UDPAddrFromAddrPort(target))
	})
	if err != nil {
		t.Fatal(err)
	}
	burst := make([][]byte, floodBurst)
	for i := range burst {
		burst[i] = voidInitiation(t, key)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-ended; c.Close() })
	go func() {
		defer close(ended)
		for {
			for _, b := range burst {
				_, _ = c.Write(b) // what does not fit is lost, as anywhere
			}
			select {
			case <-stop:
				return
			case <-time.After(floodEvery):
			}
		}
	}()
}

func voidInitiation(t *testing.T, to wgkey.PublicKey) []byte {
	t.Helper()
	b := make([]byte, 116)
	_, _ = rand.Read(b) // it never fails
	copy(b, []byte{initiation, 0, 0, 0})
	m, err := withMACs(b, to[:])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestTunnelUnderLoad: an end that is flooded asks for proof of address, by
// cookies, of initiations and of responses; the other gives it, and the tunnel
// comes up while the flood goes on.
func TestTunnelUnderLoad(t *testing.T) {
	others(t, func(t *testing.T, other implementation) {
		for _, c := range []struct {
			ours bool
			role string // of our end
			v6   bool
		}{
			{true, "initiator", false}, {true, "responder", false}, {true, "responder", true},
			{false, "initiator", false}, {false, "responder", false}, {false, "initiator", true},
		} {
			t.Run(fmt.Sprintf("%s flooded,%s,v6=%v", whoDoes[c.ours], c.role, c.v6), func(t *testing.T) {
				newPair(t, other).comeUpUnderFlood(t, c.ours, c.role, c.v6)
			})
		}
	})
}

// comeUpUnderFlood brings the tunnel up while one end is flooded from the
// other's host.
func (p *pair) comeUpUnderFlood(t *testing.T, ours bool, role string, v6 bool) {
	t.Helper()
	mine, others := p.configs(role, v6, wgkey.PresharedKey{})
	target, peer := p.ends(ours)
	if ours {
		p.ours.apply(t, mine)
	} else {
		p.theirs.apply(t, others)
	}
	flood(t, peer.flooder(), target.outer(v6), target.key.Public())
	cookiesTo := func(to netip.AddrPort) int {
		return p.tap.count(func(m message) bool { return m.kind == cookie && m.sent == ours && m.to == to })
	}
	until(t, "cookie for the flood", func() bool { return cookiesTo(peer.flooder().outer(v6)) > 0 })
	if ours {
		p.theirs.apply(t, others)
	} else {
		p.ours.apply(t, mine)
	}
	c := p.theirs.dial(t, "udp", p.ours.inner4())
	until(t, "cookie for the other end", func() bool {
		_, _ = c.Write([]byte("x")) // has theirs try, if it is the one to
		return cookiesTo(peer.outer(v6)) > 0
	})
	until(t, "message with the cookie's proof", func() bool {
		return p.tap.count(func(m message) bool { return m.mac2 && m.from == peer.outer(v6) }) > 0
	})
	p.session(t)
	p.ours.ping(t, p.theirs.inner4())
	p.theirs.ping(t, p.ours.inner4())
}
