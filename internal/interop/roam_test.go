package interop_test

import (
	"net/netip"
	"testing"

	"github.com/wgsteer/wgsteer/wgkey"
)

// TestTunnelRoaming: an end whose address, port or family changes goes on in the
// same session, once it has sent something; the other follows.
func TestTunnelRoaming(t *testing.T) {
	others(t, func(t *testing.T, other implementation) {
		for ours, who := range whoDoes {
			for _, how := range []string{"address", "address6", "port", "family"} {
				t.Run(who+","+how, func(t *testing.T) {
					t.Parallel()
					p := newPair(t, other)
					p.connect(t, "initiator", how == "address6", wgkey.PresharedKey{})
					p.ours.ping(t, p.theirs.inner4())
					before := p.ours.peer(t, p.theirs.key.Public()).LastHandshake
					want := p.roam(t, ours, how)
					roamer, follower := p.ends(ours)
					roamer.ping(t, follower.inner4())
					if got := p.endpointOf(t, ours); got != want {
						t.Errorf("it is followed to %v, want %v", got, want)
					}
					follower.ping(t, roamer.inner6())
					if ours && how == "family" {
						return // an endpoint that is configured anew is greeted
					}
					p.undisturbed(t, before)
				})
			}
		}
	})
}

// roam moves one end and returns where it is now.
func (p *pair) roam(t *testing.T, ours bool, how string) netip.AddrPort {
	t.Helper()
	e, other := p.ends(ours)
	moved := e
	switch how {
	case "address":
		moved.n += 10
		e.Sh(t, "ip addr del %v/24 dev eth0; ip addr add %v/24 dev eth0", e.outer4(), moved.outer4())
	case "address6":
		moved.n += 10
		e.Sh(t, "ip addr del %v/64 dev eth0; ip addr add %v/64 dev eth0 nodad", e.outer6(), moved.outer6())
		return moved.outer(true)
	case "port":
		moved.port += 10
		if ours {
			mine, _ := p.configs("initiator", false, wgkey.PresharedKey{})
			mine.ListenPort = moved.port
			p.ours.apply(t, mine)
		} else {
			e.Sh(t, "wg set %s listen-port %d", e.name, moved.port)
		}
	case "family":
		if ours {
			mine, _ := p.configs("initiator", true, wgkey.PresharedKey{})
			p.ours.apply(t, mine)
		} else {
			e.Sh(t, "wg set %s peer %s endpoint %v", e.name, other.key.Public(), other.outer(true))
		}
		return moved.outer(true)
	}
	return moved.outer(false)
}

// endpointOf is where the one end is in the other's eyes.
func (p *pair) endpointOf(t *testing.T, ours bool) netip.AddrPort {
	t.Helper()
	if ours {
		return p.theirs.peer(t, p.ours.key.Public()).Endpoint
	}
	return p.ours.peer(t, p.theirs.key.Public()).Endpoint
}
