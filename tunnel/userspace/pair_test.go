package userspace_test

import (
	"context"
	"crypto/rand"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
	"github.com/wgsteer/wgsteer/wgkey"
)

// pair is two hosts on a wire, b in the process's own namespace: only there a
// port can be changed through UAPI, because the engine opens the socket in
// whatever thread it is. They are 192.0.2.1 and .2, 2001:db8::1 and ::2, each with
// a running tunnel wga and wgb. The inner addresses are 10.9.0.1 and .2, and
// fd09::1 and ::2.
type pair struct {
	dir  string // of UAPI sockets
	a, b node
}

type node struct {
	*privtest.Host
	*userspace.Tunnel
	name   string
	key    wgkey.PrivateKey
	addr   netip.AddrPort // outer
	cancel context.CancelFunc
	ended  chan error
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{dir: t.TempDir()}
	p.a = node{Host: privtest.NewHost(t, unix.CLONE_NEWNET), name: "wga", key: newKey(t), addr: netip.MustParseAddrPort("192.0.2.1:51001")}
	p.b = node{Host: privtest.NewHost(t, 0), name: "wgb", key: newKey(t), addr: netip.MustParseAddrPort("192.0.2.2:51002")}
	p.a.Sh(t, "ip link add eth0 type veth peer name eth0 netns %d", p.b.PID())
	for i, n := range []*node{&p.a, &p.b} {
		n.Sh(t, "ip addr add 192.0.2.%d/24 dev eth0; ip addr add 2001:db8::%d/64 dev eth0 nodad; ip link set eth0 up", i+1, i+1)
		n.serveEcho(t)
		n.start(t, p.dir)
		n.Sh(t, "ip addr add 10.9.0.%d/24 dev %s; ip addr add fd09::%d/64 dev %s nodad", i+1, n.name, i+1, n.name)
	}
	return p
}

// start runs a tunnel in the node's namespace and waits until it is ready.
func (n *node) start(t *testing.T, dir string) {
	t.Helper()
	var err error
	if n.Tunnel, err = userspace.New(userspace.Options{Interface: n.name, UAPIDir: dir}); err != nil {
		t.Fatal(err)
	}
	n.ended = make(chan error, 1)
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	inside := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlock
		close(inside)
		if err := n.Enter(); err != nil {
			n.ended <- err
			return
		}
		n.ended <- n.Run(ctx)
	}()
	<-inside
	t.Cleanup(func() { n.stop(t) })
	select {
	case <-n.Ready():
	case err := <-n.ended:
		t.Fatalf("%s ended: %v", n.name, err)
	case <-time.After(patience):
		t.Fatalf("%s is not ready", n.name)
	}
}

// stop ends the tunnel and returns Run's error. It may be called twice.
func (n *node) stop(t *testing.T) error {
	t.Helper()
	n.cancel()
	select {
	case err := <-n.ended:
		n.ended <- err
		return err
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s does not end:\n%s", n.name, buf[:runtime.Stack(buf, true)])
		return nil
	}
}

// apply applies on the host's thread: the first time opens sockets.
func (n *node) apply(t *testing.T, c tunnel.Config) {
	t.Helper()
	var err error
	n.Do(func() { err = n.Apply(context.Background(), c) })
	if err != nil {
		t.Fatal(err)
	}
}

// config makes n talk to the others, each of which has one inner address of
// each family.
func (n *node) config(others ...*node) tunnel.Config {
	c := tunnel.Config{PrivateKey: n.key, ListenPort: n.addr.Port(), MTU: 1420}
	for _, o := range others {
		last := o.addr.Addr().As4()[3]
		c.Peers = append(c.Peers, tunnel.Peer{PublicKey: o.key.Public(), Endpoint: o.addr, AllowedIPs: []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, last}), 32),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 9, 15: last}), 128),
		}})
	}
	return c
}

// connect configures both and waits until both have a session.
func (p *pair) connect(t *testing.T) {
	t.Helper()
	p.a.apply(t, p.a.config(&p.b))
	p.b.apply(t, p.b.config(&p.a))
	// Traffic from both sides before that would make handshakes cross.
	until(t, "session", func() bool {
		return !p.a.peer(t, &p.b).LastHandshake.IsZero() && !p.b.peer(t, &p.a).LastHandshake.IsZero()
	})
	p.a.ping(t, "10.9.0.2")
	p.b.ping(t, "10.9.0.1")
}

// ping waits until an echo comes back.
func (n *node) ping(t *testing.T, to string) {
	t.Helper()
	c := n.dial(t, to)
	until(t, "echo from "+to+" to "+n.name, func() bool { return echo(c, time.Second) })
}

// stats of the tunnel; peer is those of one peer.
func (n *node) stats(t *testing.T) tunnel.Stats {
	t.Helper()
	s, err := n.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (n *node) peer(t *testing.T, o *node) tunnel.PeerStats {
	t.Helper()
	for _, p := range n.stats(t).Peers {
		if p.PublicKey == o.key.Public() {
			return p
		}
	}
	t.Fatalf("%s does not know %s", n.name, o.name)
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
