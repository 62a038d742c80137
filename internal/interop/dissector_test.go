package interop_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/wgkey"
)

// wellFormed wants every datagram to be a whole message of WireGuard, and counts
// the types.
func wellFormed(t *testing.T, all []dissected) map[string]int {
	t.Helper()
	kinds := map[string]int{}
	for n, d := range all {
		if d.malformed != "" || !strings.Contains(" 1 2 3 4 ", " "+d.kind+" ") {
			t.Errorf("datagram %d: type %q, %s", n+1, d.kind, d.malformed)
		}
		kinds[d.kind]++
	}
	t.Logf("%d datagrams, by type: %v", len(all), kinds)
	return kinds
}

// carried wants every transport message to be a keepalive or to decrypt to a
// packet, and all payloads inside, each as often as it was sent.
func carried(t *testing.T, all []dissected, sent [][]byte, times int) {
	t.Helper()
	inside := map[string]int{}
	for _, d := range all {
		if d.kind == "4" && (d.failed != "" || d.keepalive == "" && len(d.sources) != 2) {
			t.Errorf("not decrypted, %q: from %v, %d payloads", d.failed, d.sources, len(d.payloads))
		}
		if len(d.payloads) > 1 {
			inside[d.payloads[len(d.payloads)-1]]++
		}
	}
	for _, p := range sent {
		if n := inside[hex.EncodeToString(p)]; n != times {
			t.Errorf("a payload of %d bytes is %d times inside, want %d", len(p), n, times)
		}
	}
}

// TestDissectedByHand: the keys are those of an initiator that logs them.
func TestDissectedByHand(t *testing.T) {
	b := newByHand(t)
	stop := recording(t, b.ours.end)
	i := b.shakeHands(t, 1)
	var sent [][]byte
	for size := range 20 {
		payload := make([]byte, 8+61*size)
		_, _ = rand.Read(payload) // it never fails
		b.echoed(t, i, payload)
		sent = append(sent, payload)
	}
	path := stop()
	all := dissect(t, path, keyLog(b.theirs.key, b.ours.key.Public(), b.psk, [][]byte{i.ephemeral.Bytes()}))
	if kinds := wellFormed(t, all); kinds["1"] != 1 || kinds["2"] != 1 || all[1].decrypted != "1" {
		t.Errorf("types %v; the response decrypts: %q", kinds, all[1].decrypted)
	}
	carried(t, all, sent, 2) // there and back
	// Without the key nothing is to be read: the test before was of decryption.
	for _, d := range dissect(t, path, "") {
		if len(d.payloads) > 1 {
			t.Fatal("a payload can be read without a key")
		}
	}
}

// eavesdropper keeps what is read of randomness in the size of a key: among it
// is every ephemeral key that this process makes.
type eavesdropper struct {
	io.Reader
	mu   sync.Mutex // guards keys
	keys [][]byte
}

func (e *eavesdropper) Read(b []byte) (int, error) {
	n, err := e.Reader.Read(b)
	if n == wgkey.Size {
		k := bytes.Clone(b)
		k[0], k[31] = k[0]&248, k[31]&127|64 // as Curve25519's are
		e.mu.Lock()
		e.keys = append(e.keys, k)
		e.mu.Unlock()
	}
	return n, err
}

// TestDissected: all four types of message between our engine and stock
// wireguard-go, bulk included, parse, and decrypt by our engine's own keys, which
// are had by listening to the randomness that it draws.
func TestDissected(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	drawn := &eavesdropper{Reader: rand.Reader}
	rand.Reader = drawn // before anything else runs in this process
	psk := newPresharedKey(t)
	p := newPair(t, implementations[0])
	t.Log("other end: " + versionOfGo(t))
	for _, e := range []end{p.ours.end, p.theirs.end} {
		e.Sh(t, "ip link set eth0 gso_max_segs 1") // a train is seen as its datagrams
	}
	stop := recording(t, p.ours.end)
	p.connect(t, "initiator", false, psk)
	c := p.ours.dial(t, "udp", p.theirs.inner4())
	var sent [][]byte
	for _, size := range []int{8, 100, 1000, 1392} { // so long that chance gives no other datagram the same bytes
		payload := make([]byte, size)
		_, _ = rand.Read(payload) // it never fails
		until(t, "echo", func() bool { return echo(c, payload, patience) })
		sent = append(sent, payload)
	}
	p.carry(t)
	flood(t, p.theirs.flooder(), p.ours.outer(false), p.ours.key.Public())
	until(t, "cookie", func() bool { return p.tap.count(ofKind(cookie, true)) > 0 })
	drawn.mu.Lock()
	keys := drawn.keys
	drawn.mu.Unlock()
	all := dissect(t, stop(), keyLog(p.ours.key, p.theirs.key.Public(), psk, keys))
	if kinds := wellFormed(t, all); len(kinds) != 4 {
		t.Errorf("types %v, want all four", kinds)
	}
	carried(t, all, sent, 2)
}
