package interop_test

import (
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// rekeyAfter is when who asked for a session asks for the next (WireGuard's
// paper, section 6.1), rekeyWithin the retries.
const (
	rekeyAfter  = 120 * time.Second
	rekeyWithin = 10 * time.Second
)

// TestLongTunnelRekey: after 120 s who began begins anew, alone, and not one
// packet is lost over it.
func TestLongTunnelRekey(t *testing.T) {
	privtest.Long(t)
	t.Parallel()
	others(t, func(t *testing.T, other implementation) {
		for _, role := range roles {
			t.Run(role, func(t *testing.T) {
				t.Parallel()
				p := newPair(t, other)
				p.connect(t, role, role == "responder", newPresharedKey(t))
				p.ours.ping(t, p.theirs.inner4())
				first := p.ours.peer(t, p.theirs.key.Public()).LastHandshake
				out, in := p.ours.dial(t, "udp", p.theirs.inner4()), p.theirs.dial(t, "udp", p.ours.inner6())
				weAsk := role == "initiator"
				asked := p.tap.count(ofKind(initiation, weAsk))
				sent, lost := 0, 0
				var next time.Time
				for next = first; next.Equal(first) && time.Since(first) < rekeyAfter+rekeyWithin; time.Sleep(100 * time.Millisecond) {
					sent += 2
					if !echo(out, []byte{byte(sent)}, patience) {
						lost++
					}
					if !echo(in, []byte{byte(sent)}, patience) {
						lost++
					}
					next = p.ours.peer(t, p.theirs.key.Public()).LastHandshake
					if d := next.Sub(first); d > 0 && d < 2*belated {
						first, asked = next, p.tap.count(ofKind(initiation, weAsk))
					}
				}
				t.Logf("%d echoes; the second handshake %v after the first", sent, next.Sub(first))
				if lost != 0 {
					t.Errorf("%d of %d echoes were lost", lost, sent)
				}
				if after := next.Sub(first); after < rekeyAfter-time.Second {
					t.Errorf("the second handshake came after %v, want %v", after, rekeyAfter)
				}
				until(t, "initiation at the tap, which may see it late", func() bool { return p.tap.count(ofKind(initiation, weAsk)) > asked })
				if n := p.tap.count(ofKind(initiation, weAsk)); n != asked+1 {
					t.Errorf("%d initiations, then %d", asked, n)
				}
				if n := p.tap.count(ofKind(initiation, !weAsk)); n != 0 {
					t.Errorf("%d initiations by the responder", n)
				}
				p.carry(t)
			})
		}
	})
}
