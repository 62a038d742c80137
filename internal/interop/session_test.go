package interop_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// roles of our end. Who is to answer does not know where the other is, so it
// cannot but wait.
var roles = []string{"initiator", "responder"}

// connect configures both, our end in a role, and waits for a session.
func (p *pair) connect(t *testing.T, role string, v6 bool, psk wgkey.PresharedKey) {
	t.Helper()
	mine, others := p.configs(role, v6, psk)
	if role == "initiator" {
		p.theirs.apply(t, others)
		p.ours.apply(t, mine) // greets
	} else {
		p.ours.apply(t, mine)
		p.theirs.apply(t, others)
		p.theirs.ping(t, p.ours.inner4()) // it shakes hands for a packet alone
	}
	p.session(t)
}

func (p *pair) configs(role string, v6 bool, psk wgkey.PresharedKey) (mine, others tunnel.Config) {
	mine, others = p.ours.config(p.theirs.end), p.theirs.config(p.ours.end)
	mine.Peers[0].PresharedKey, others.Peers[0].PresharedKey = psk, psk
	if role == "initiator" {
		mine.Peers[0].Endpoint = p.theirs.outer(v6)
	} else {
		others.Peers[0].Endpoint = p.ours.outer(v6)
	}
	return mine, others
}

// session waits until both ends have one.
func (p *pair) session(t *testing.T) {
	t.Helper()
	until(t, "session", func() bool {
		return !p.ours.peer(t, p.theirs.key.Public()).LastHandshake.IsZero() && !p.theirs.peer(t, p.ours.key.Public()).LastHandshake.IsZero()
	})
}

// belated is when wireguard-go may shake hands again though it need not: it sets
// the timer of the retry after it has sent the initiation, and where the answer
// is there before, nobody stops it (device/send.go, SendHandshakeInitiation).
const belated = 5 * time.Second

// undisturbed fails if there was a handshake since a time that somebody asked for.
func (p *pair) undisturbed(t *testing.T, since time.Time) {
	t.Helper()
	last := p.ours.peer(t, p.theirs.key.Public()).LastHandshake
	if d := last.Sub(since); d != 0 && d < belated {
		t.Errorf("a handshake at %v, and again %v later", since, d)
	}
}

// TestTunnelSessions: in both roles, over both families, with and without a
// preshared key, one handshake makes a session that carries everything whole.
func TestTunnelSessions(t *testing.T) {
	others(t, func(t *testing.T, other implementation) {
		for _, role := range roles {
			for _, v6 := range []bool{false, true} {
				for _, psk := range []wgkey.PresharedKey{{}, newPresharedKey(t)} {
					t.Run(fmt.Sprintf("%s,v6=%v,psk=%v", role, v6, !psk.IsZero()), func(t *testing.T) {
						p := newPair(t, other)
						p.connect(t, role, v6, psk)
						p.carry(t)
						p.inRole(t, role, v6)
					})
				}
			}
		}
	})
}

// inRole looks at the wire: who asked, who answered, and over which family.
func (p *pair) inRole(t *testing.T, role string, v6 bool) {
	t.Helper()
	weAsk := role == "initiator"
	count := func(ask func(message) bool) int { return p.tap.count(ask) }
	if n := count(ofKind(initiation, weAsk)); n == 0 {
		t.Error("the initiator sent no initiation")
	}
	if n := count(ofKind(response, !weAsk)); n == 0 {
		t.Error("the responder sent no response")
	}
	if n := count(ofKind(initiation, !weAsk)) + count(ofKind(response, weAsk)); n != 0 {
		t.Errorf("%d handshake messages in the other direction", n)
	}
	if n := count(func(m message) bool { return m.from.Addr().Is6() != v6 }); n != 0 {
		t.Errorf("%d messages over the other family", n)
	}
}

// TestTunnelHandshakesCross: where both ends begin at once, there is a session in
// the end.
func TestTunnelHandshakesCross(t *testing.T) {
	t.Parallel()
	others(t, func(t *testing.T, other implementation) {
		p := newPair(t, other)
		mine, _ := p.configs("initiator", true, wgkey.PresharedKey{})
		_, others := p.configs("responder", true, wgkey.PresharedKey{})
		others.Peers[0].PersistentKeepalive = time.Hour // it shakes hands at once
		p.theirs.apply(t, others)
		p.ours.apply(t, mine)
		p.session(t)
		p.ours.ping(t, p.theirs.inner4())
		p.theirs.ping(t, p.ours.inner6())
		until(t, "initiation of each end at the tap", func() bool { // which may see it late
			return p.tap.count(ofKind(initiation, true)) > 0 && p.tap.count(ofKind(initiation, false)) > 0
		})
	})
}

// TestTunnelRefusesWrongPresharedKey: with different ones there is no session.
func TestTunnelRefusesWrongPresharedKey(t *testing.T) {
	t.Parallel()
	others(t, func(t *testing.T, other implementation) {
		for _, role := range roles {
			t.Run(role, func(t *testing.T) {
				t.Parallel()
				p := newPair(t, other)
				mine, others := p.configs(role, false, newPresharedKey(t))
				others.Peers[0].PresharedKey = newPresharedKey(t)
				p.ours.apply(t, mine)
				p.theirs.apply(t, others)
				c := p.theirs.dial(t, "udp", p.ours.inner4())
				weAsk := role == "initiator"
				until(t, "answer to an initiation, which is void", func() bool {
					_, _ = c.Write([]byte("x")) // has it try, if it is the one to
					return p.tap.count(ofKind(response, !weAsk)) > 0
				})
				// The same keys agree at once; then the test before was of the preshared key.
				others.Peers[0].PresharedKey = mine.Peers[0].PresharedKey
				if !p.ours.peer(t, p.theirs.key.Public()).LastHandshake.IsZero() || !p.theirs.peer(t, p.ours.key.Public()).LastHandshake.IsZero() {
					t.Error("a session without a common preshared key")
				}
				p.theirs.apply(t, others)
				p.ours.ping(t, p.theirs.inner4())
				p.session(t)
			})
		}
	})
}
