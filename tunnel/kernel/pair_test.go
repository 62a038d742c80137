package kernel

import (
	"context"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// end is one side of a pair: a host with a tunnel.
type end struct {
	*privtest.Host
	name   string // of the link, and of the address on it
	outer  netip.Addr
	inner  netip.Prefix
	key    wgkey.PrivateKey
	tunnel *Tunnel
	stop   func() error
}

const port = 51871

// pair are two ends on one wire, with tunnels that run but know no peer yet.
func pair(t *testing.T) (a, b *end) {
	t.Helper()
	a = &end{Host: privtest.NewHost(t, unix.CLONE_NEWNET), name: "wga", outer: netip.MustParseAddr("192.0.2.1"), inner: netip.MustParsePrefix("10.0.1.1/24"), key: private(t, 1)}
	b = &end{Host: privtest.NewHost(t, unix.CLONE_NEWNET), name: "wgb", outer: netip.MustParseAddr("192.0.2.2"), inner: netip.MustParsePrefix("10.0.2.1/24"), key: private(t, 2)}
	a.Sh(t, "ip link add u0 type veth peer name u0 netns %d", b.PID())
	for _, e := range []*end{a, b} {
		e.Sh(t, "ip addr add %s/24 dev u0; ip link set u0 up", e.outer)
		e.run(t)
		e.Sh(t, "ip addr add %s/32 dev %s; ip route add 10.0.0.0/8 dev %s", e.inner.Addr(), e.name, e.name)
	}
	return a, b
}

// run runs a tunnel until the test ends or stop is called.
func (e *end) run(t *testing.T) {
	t.Helper()
	e.tunnel, e.stop = start(t, e.Host, Options{Interface: e.name})
}

// start runs a tunnel in a host.
func start(t *testing.T, h *privtest.Host, o Options) (*Tunnel, func() error) {
	t.Helper()
	tun, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go inNamespace(h, func() { ended <- tun.Run(ctx) })
	select {
	case <-tun.Ready():
	case err := <-ended:
		t.Fatalf("Run: %v", err)
	}
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return tun, stop
}

// inNamespace calls f in a thread of the namespace, which ends with f.
func inNamespace(h *privtest.Host, f func()) {
	runtime.LockOSThread()
	if err := h.Enter(); err != nil {
		panic(err)
	}
	f()
}

// to is e's configuration with one peer, the other end.
func (e *end) to(o *end, more ...tunnel.Peer) tunnel.Config {
	return tunnel.Config{PrivateKey: e.key, ListenPort: port, MTU: 1400, Peers: append([]tunnel.Peer{{
		PublicKey: o.key.Public(), Endpoint: netip.AddrPortFrom(o.outer, port), AllowedIPs: []netip.Prefix{o.inner.Masked()},
	}}, more...)}
}

func (e *end) apply(t *testing.T, c tunnel.Config) {
	t.Helper()
	if err := e.tunnel.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func (e *end) stats(t *testing.T) tunnel.Stats {
	t.Helper()
	s, err := e.tunnel.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// peer is what e knows of the other end.
func (e *end) peer(t *testing.T, o *end) tunnel.PeerStats {
	t.Helper()
	for _, p := range e.stats(t).Peers {
		if p.PublicKey == o.key.Public() {
			return p
		}
	}
	t.Fatalf("%s does not know %s", e.name, o.name)
	return tunnel.PeerStats{}
}

// connect has both ends know each other, and waits for a session.
func connect(t *testing.T, a, b *end) {
	t.Helper()
	b.apply(t, b.to(a))
	a.apply(t, a.to(b))
	for _, e := range [][2]*end{{a, b}, {b, a}} {
		until(t, "session", func() bool { return !e[0].peer(t, e[1]).LastHandshake.IsZero() })
	}
}
