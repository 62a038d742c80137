package interop_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/wgkey"
)

func keepalives(ours bool) func(message) bool {
	return func(m message) bool { return m.empty && m.sent == ours }
}

// TestTunnelPersistentKeepalive: an end that is told to sends keepalives in
// silence, and the other counts them.
func TestTunnelPersistentKeepalive(t *testing.T) {
	t.Parallel()
	eitherEnd(t, func(t *testing.T, p *pair, ours bool) {
		mine, others := p.configs("initiator", false, wgkey.PresharedKey{})
		if ours {
			mine.Peers[0].PersistentKeepalive = time.Second
		} else {
			others.Peers[0].PersistentKeepalive = time.Second
		}
		p.theirs.apply(t, others)
		p.ours.apply(t, mine)
		p.session(t)
		received := func() uint64 {
			if ours {
				return p.theirs.peer(t, p.ours.key.Public()).RxBytes
			}
			return p.ours.peer(t, p.theirs.key.Public()).RxBytes
		}
		const want = 4
		before, counted := p.tap.count(keepalives(ours)), received()
		until(t, "keepalives on the wire", func() bool { return p.tap.count(keepalives(ours)) >= before+want })
		until(t, "keepalives in the counters", func() bool { return received() >= counted+want*keepaliveLength })
	})
}

// passiveAfter is when a keepalive stands for data (WireGuard's paper, section 6.5).
const passiveAfter = 10 * time.Second

// TestTunnelPassiveKeepalive: who hears data and has none to send says so, 10 s
// later.
func TestTunnelPassiveKeepalive(t *testing.T) {
	t.Parallel()
	eitherEnd(t, func(t *testing.T, p *pair, ours bool) {
		// The listener answers: an initiator sends a keepalive after each handshake.
		p.connect(t, map[bool]string{true: "responder", false: "initiator"}[ours], false, wgkey.PresharedKey{})
		listener, sender := p.ends(ours)
		const discard = 9
		at := netip.AddrPortFrom(listener.inner4(), discard)
		var silent net.PacketConn
		var err error
		listener.Do(func() { silent, err = net.ListenPacket("udp", at.String()) })
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		sender.ping(t, listener.inner4()) // the listener has had the last word
		before := p.tap.count(keepalives(ours))
		c := sender.dialTo(t, "udp", at)
		started, said := time.Now(), time.Time{}
		until(t, "keepalive for an answer", func() bool {
			// Again and again: a belated handshake would do for an answer, too.
			if time.Since(said) > time.Second {
				said = time.Now()
				_, _ = c.Write([]byte("x"))
			}
			return p.tap.count(keepalives(ours)) > before
		})
		if after := time.Since(started); after < passiveAfter {
			t.Errorf("a keepalive after %v, want %v", after, passiveAfter)
		}
	})
}
