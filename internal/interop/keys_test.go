package interop_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/wgkey"
)

// TestTunnelNewKey: an end gets another key, the other learns it, and they shake
// hands under it; the old one is gone.
func TestTunnelNewKey(t *testing.T) {
	t.Parallel()
	eitherEnd(t, func(t *testing.T, p *pair, ours bool) {
		psk := newPresharedKey(t)
		p.connect(t, "initiator", false, psk)
		if ours {
			p.ours.key = newKey(t)
		} else {
			p.theirs.key = newKey(t)
		}
		mine, others := p.configs("initiator", false, psk)
		p.theirs.apply(t, others)
		p.ours.apply(t, mine)
		p.session(t)
		p.ours.ping(t, p.theirs.inner4())
		p.theirs.ping(t, p.ours.inner6())
		link, peers := dump(t, p.theirs.end)
		if link.publicKey != p.theirs.key.Public().String() || len(peers) != 1 || peers[0].key != p.ours.key.Public().String() {
			t.Errorf("the other end has key %s and %d peers", link.publicKey, len(peers))
		}
		s := p.ours.stats(t)
		if s.PublicKey != p.ours.key.Public() || len(s.Peers) != 1 || s.Peers[0].PublicKey != p.theirs.key.Public() {
			t.Errorf("our end has key %s and peers %+v", s.PublicKey, s.Peers)
		}
	})
}

// TestTunnelNewPresharedKey: the session goes on, and the next handshake is made
// with the new one.
func TestTunnelNewPresharedKey(t *testing.T) {
	t.Parallel()
	others(t, func(t *testing.T, other implementation) {
		for _, psk := range map[string]wgkey.PresharedKey{"another": newPresharedKey(t), "none": {}} {
			t.Run(map[bool]string{true: "none", false: "another"}[psk.IsZero()], func(t *testing.T) {
				t.Parallel()
				p := newPair(t, other)
				p.connect(t, "initiator", false, newPresharedKey(t))
				before := p.ours.peer(t, p.theirs.key.Public()).LastHandshake
				mine, others := p.configs("initiator", false, psk)
				p.theirs.apply(t, others)
				p.ours.apply(t, mine)
				p.ours.ping(t, p.theirs.inner4())
				p.undisturbed(t, before)
				before = p.ours.peer(t, p.theirs.key.Public()).LastHandshake
				if err := p.ours.Greet(p.theirs.key.Public()); err != nil {
					t.Fatal(err)
				}
				until(t, "handshake with the new preshared key", func() bool {
					return p.ours.peer(t, p.theirs.key.Public()).LastHandshake.After(before)
				})
				p.ours.ping(t, p.theirs.inner4())
				p.theirs.ping(t, p.ours.inner6())
			})
		}
	})
}
