package interop_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// patience bounds every wait for something that takes milliseconds, or the 5 s
// of a repeated handshake, on a machine that is busy, or emulated.
const patience = 2 * time.Minute

// pair is two hosts on a wire, 192.0.2.1 and .2, 2001:db8::1 and ::2; the inner
// addresses are 10.9.0.1 and .2, fd09::1 and ::2. The first runs our tunnel, the
// second another implementation.
type pair struct {
	ours   *ours
	theirs *theirs
	tap    *tap // what passes on the wire
}

// end is what both ends have.
type end struct {
	*privtest.Host
	name string // of the tunnel's link
	key  wgkey.PrivateKey
	port uint16
	n    int // 1 or 2: the last digit of its addresses
}

// named counts the links of this process.
var named atomic.Int32

func newEnd(t *testing.T, h *privtest.Host, n int) end {
	return end{Host: h, name: fmt.Sprintf("wgi%s-%d", run, named.Add(1)), key: newKey(t), port: uint16(51000 + n), n: n}
}

// newPair connects the two; neither has a configuration.
func newPair(t *testing.T, other implementation) *pair {
	t.Helper()
	return newPairAt(t, syscall.CLONE_NEWNET, other)
}

// newPairAt makes our host as privtest.NewHost does with flags.
func newPairAt(t *testing.T, flags int, other implementation) *pair {
	t.Helper()
	p := newHalf(t, flags)
	other.start(t, p.theirs.Host, p.theirs.name)
	for _, e := range []end{p.ours.end, p.theirs.end} {
		e.Sh(t, "ip addr add %v/24 dev %s; ip addr add %v/64 dev %s nodad; ip link set %s mtu 1420", e.inner4(), e.name, e.inner6(), e.name, e.name)
	}
	return p
}

// newHalf lays the underlay, taps it, and starts our tunnel alone.
func newHalf(t *testing.T, flags int) *pair {
	t.Helper()
	p := &pair{
		ours:   &ours{end: newEnd(t, privtest.NewHost(t, flags), 1)},
		theirs: &theirs{end: newEnd(t, privtest.NewHost(t, syscall.CLONE_NEWNET), 2)},
	}
	p.ours.Sh(t, "ip link add eth0 type veth peer name eth0 netns %d", p.theirs.PID())
	for _, e := range []end{p.ours.end, p.theirs.end} {
		e.Sh(t, "ip addr add %v/24 dev eth0; ip addr add %v/64 dev eth0 nodad; ip link set eth0 up", e.outer4(), e.outer6())
		serveEcho(t, e.Host)
	}
	p.tap = newTap(t, p.ours.Host)
	p.ours.start(t)
	return p
}

func address4(net [3]byte, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{net[0], net[1], net[2], byte(n)})
}

func (e end) outer4() netip.Addr { return address4([3]byte{192, 0, 2}, e.n) }
func (e end) inner4() netip.Addr { return address4([3]byte{10, 9, 0}, e.n) }
func (e end) outer6() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: byte(e.n)})
}
func (e end) inner6() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 1: 9, 15: byte(e.n)}) }

// outer is where the end is found from outside.
func (e end) outer(v6 bool) netip.AddrPort {
	if v6 {
		return netip.AddrPortFrom(e.outer6(), e.port)
	}
	return netip.AddrPortFrom(e.outer4(), e.port)
}

// config makes e talk to o, without an endpoint.
func (e end) config(o end) tunnel.Config {
	return tunnel.Config{PrivateKey: e.key, ListenPort: e.port, MTU: 1420, Peers: []tunnel.Peer{{
		PublicKey:  o.key.Public(),
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(o.inner4(), 32), netip.PrefixFrom(o.inner6(), 128)},
	}}}
}

// ends are ours and the other, by who does something.
func (p *pair) ends(ours bool) (one, other end) {
	if ours {
		return p.ours.end, p.theirs.end
	}
	return p.theirs.end, p.ours.end
}

var whoDoes = map[bool]string{true: "ours", false: "theirs"}

// eitherEnd runs f as a subtest for each implementation and for each end that
// does something, side by side.
func eitherEnd(t *testing.T, f func(t *testing.T, p *pair, ours bool)) {
	others(t, func(t *testing.T, other implementation) {
		for ours, who := range whoDoes {
			t.Run(who, func(t *testing.T) {
				t.Parallel()
				f(t, newPair(t, other), ours)
			})
		}
	})
}

func newKey(t *testing.T) wgkey.PrivateKey {
	t.Helper()
	k, err := wgkey.NewPrivateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newPresharedKey(t *testing.T) wgkey.PresharedKey {
	t.Helper()
	b := make([]byte, wgkey.Size)
	_, _ = rand.Read(b) // it never fails
	k, err := wgkey.ParsePresharedKey(base64.StdEncoding.EncodeToString(b))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}
