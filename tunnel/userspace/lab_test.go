package userspace_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
	"github.com/wgsteer/wgsteer/wgkey"
)

// patience bounds every wait for something that takes milliseconds, or the 5 s
// of a repeated handshake, on a machine that is busy with other tests.
const patience = 30 * time.Second

// host is a network namespace: a thread that lives in it runs what is given to
// do. Sockets, links and child processes made there belong to it.
type host struct {
	work chan func()
	tid  int
}

// newHost makes one in a namespace of its own, or with flags 0 in the process's:
// only there a port can be changed through UAPI, because the engine opens the
// socket in whatever thread it is. It is for isolated tests alone: the thread
// ends with the process.
func newHost(t *testing.T, flags int) *host {
	t.Helper()
	h := &host{work: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread is of no other use
		h.tid = unix.Gettid()
		started <- unix.Unshare(flags)
		for f := range h.work {
			f()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	h.sh(t, "ip link set lo up")
	return h
}

func (h *host) do(f func()) {
	done := make(chan struct{})
	h.work <- func() { defer close(done); f() }
	<-done
}

// sh runs a shell script in the namespace and returns its output.
func (h *host) sh(t *testing.T, script string, args ...any) string {
	t.Helper()
	var out []byte
	var err error
	h.do(func() { out, err = exec.Command("sh", "-ec", fmt.Sprintf(script, args...)).CombinedOutput() })
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprintf(script, args...), err, out)
	}
	return string(out)
}

// pair is two hosts on a wire, b in the process's own namespace: 192.0.2.1 and .2, 2001:db8::1 and ::2, each with
// a running tunnel wga and wgb. The inner addresses are 10.9.0.1 and .2, and
// fd09::1 and ::2.
type pair struct {
	dir  string // of UAPI sockets
	a, b node
}

type node struct {
	*host
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
	p.a = node{host: newHost(t, unix.CLONE_NEWNET), name: "wga", key: newKey(t), addr: netip.MustParseAddrPort("192.0.2.1:51001")}
	p.b = node{host: newHost(t, 0), name: "wgb", key: newKey(t), addr: netip.MustParseAddrPort("192.0.2.2:51002")}
	p.a.sh(t, "ip link add eth0 type veth peer name eth0 netns %d", p.b.tid)
	for i, n := range []*node{&p.a, &p.b} {
		n.sh(t, "ip addr add 192.0.2.%d/24 dev eth0; ip addr add 2001:db8::%d/64 dev eth0 nodad; ip link set eth0 up", i+1, i+1)
		n.serveEcho(t)
		n.start(t, p.dir)
		n.sh(t, "ip addr add 10.9.0.%d/24 dev %s; ip addr add fd09::%d/64 dev %s nodad", i+1, n.name, i+1, n.name)
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
		if err := n.enter(); err != nil {
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

// enter moves the calling, locked thread into the host's namespace.
func (h *host) enter() error {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", h.tid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
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
	n.do(func() { err = n.Apply(context.Background(), c) })
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

// echoPort is where every host of a pair answers UDP with the same again.
const echoPort = 7

// serveEcho answers until the test ends.
func (h *host) serveEcho(t *testing.T) {
	t.Helper()
	var c net.PacketConn
	var err error
	h.do(func() { c, err = net.ListenPacket("udp", fmt.Sprintf(":%d", echoPort)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		for buf := make([]byte, 2048); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
}

// dial connects a UDP socket of the host to a host's echo.
func (h *host) dial(t *testing.T, to string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	h.do(func() { c, err = net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(to), echoPort).String()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echo sends once and reports whether the answer comes in time.
func echo(c net.Conn, in time.Duration) bool {
	if _, err := c.Write([]byte("hello")); err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(in))
	n, err := c.Read(make([]byte, 100))
	return err == nil && n == len("hello")
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

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}
