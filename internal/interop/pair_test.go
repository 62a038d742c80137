package interop_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
	"github.com/wgsteer/wgsteer/wgkey"
)

// patience bounds every wait for something that takes milliseconds, or the 5 s
// of a repeated handshake, on a machine that is busy, or emulated.
const patience = 60 * time.Second

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

// ours is our tunnel, in this process.
type ours struct {
	end
	*userspace.Tunnel
}

// start runs the tunnel in the host's namespace until the test ends.
func (o *ours) start(t *testing.T) {
	t.Helper()
	var err error
	if o.Tunnel, err = userspace.New(userspace.Options{Interface: o.name}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // longer than t.Context
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock
		if err := o.Enter(); err != nil {
			ended <- err
			return
		}
		ended <- o.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("our tunnel: %v", err)
		}
	})
	select {
	case <-o.Ready():
	case err := <-ended:
		ended <- err
		t.Fatalf("our tunnel ended at once: %v", err)
	case <-time.After(patience):
		t.Fatal("our tunnel is not ready")
	}
}

// apply applies on the host's thread: the first time opens sockets.
func (o *ours) apply(t *testing.T, c tunnel.Config) {
	t.Helper()
	var err error
	o.Do(func() { err = o.Apply(context.Background(), c) })
	if err != nil {
		t.Fatal(err)
	}
}

func (o *ours) stats(t *testing.T) tunnel.Stats {
	t.Helper()
	s, err := o.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// peer is what our tunnel knows of one.
func (o *ours) peer(t *testing.T, key wgkey.PublicKey) tunnel.PeerStats {
	t.Helper()
	for _, p := range o.stats(t).Peers {
		if p.PublicKey == key {
			return p
		}
	}
	t.Fatalf("our tunnel has no peer %s", key)
	return tunnel.PeerStats{}
}

// theirs is the other implementation's link.
type theirs struct{ end }

// apply makes the link what config says, by wg(8).
func (o *theirs) apply(t *testing.T, c tunnel.Config) {
	t.Helper()
	o.Feed(t, configText(c), "wg syncconf %s /proc/self/fd/0", o.name)
}

// configText is a configuration as wg(8) reads it.
func configText(c tunnel.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\nListenPort = %d\n", c.PrivateKey.RevealBase64(), c.ListenPort)
	for _, p := range c.Peers {
		fmt.Fprintf(&b, "[Peer]\nPublicKey = %s\n", p.PublicKey)
		// syncconf leaves a preshared key as it is that is not named.
		fmt.Fprintf(&b, "PresharedKey = %s\n", p.PresharedKey.RevealBase64())
		if p.Endpoint.IsValid() {
			fmt.Fprintf(&b, "Endpoint = %s\n", p.Endpoint)
		}
		if p.PersistentKeepalive != 0 {
			fmt.Fprintf(&b, "PersistentKeepalive = %d\n", p.PersistentKeepalive/time.Second)
		}
		for _, ip := range p.AllowedIPs {
			fmt.Fprintf(&b, "AllowedIPs = %s\n", ip)
		}
	}
	return b.String()
}

// peer is what the link knows of one.
func (o *theirs) peer(t *testing.T, key wgkey.PublicKey) tunnel.PeerStats {
	t.Helper()
	_, peers := dump(t, o.end)
	for _, p := range peers {
		if p.key == key.String() {
			return p.stats(t)
		}
	}
	t.Fatalf("the other end has no peer %s", key)
	return tunnel.PeerStats{}
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
