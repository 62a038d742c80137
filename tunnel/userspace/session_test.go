package userspace_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
)

// strangers are n nodes that nobody runs, at addresses that nobody has.
func strangers(t *testing.T, n int) []*node {
	t.Helper()
	var list []*node
	for i := range n {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}), 51000)
		list = append(list, &node{key: newKey(t), addr: addr})
	}
	return list
}

// Peers come and go one by one while packets pass between others: none is
// lost, and no handshake is repeated.
func TestApplyLeavesSessionsAlone(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	before := p.a.peer(t, &p.b)
	stop, lost := make(chan struct{}), make(chan int)
	conn := p.a.dial(t, "10.9.0.2")
	go func() {
		for n := 0; ; {
			select {
			case <-stop:
				lost <- n
				return
			default:
				if !echo(conn, patience) {
					n++
				}
			}
		}
	}()
	others := strangers(t, 50)
	for n := range others {
		p.a.apply(t, p.a.config(append(others[:n+1:n+1], &p.b)...))
	}
	if got := len(p.a.stats(t).Peers); got != 51 {
		t.Errorf("%d peers", got)
	}
	for n := range others {
		p.a.apply(t, p.a.config(append([]*node{&p.b}, others[n+1:]...)...))
	}
	close(stop)
	if n := <-lost; n != 0 {
		t.Errorf("%d packets were lost", n)
	}
	after := p.a.peer(t, &p.b)
	undisturbed(t, before, after)
	if s := p.a.stats(t); len(s.Peers) != 1 || after.TxBytes <= before.TxBytes {
		t.Errorf("peers %+v", s.Peers)
	}
}

func TestRoamedEndpointStays(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	before := p.a.peer(t, &p.b)
	if answer := p.uapi(t, "wgb", "set=1\nlisten_port=51099\n\n"); answer != "errno=0" {
		t.Fatalf("change of b's port: %s", answer)
	}
	p.b.ping(t, "10.9.0.1") // and a learns where b is
	roamed := netip.AddrPortFrom(p.b.addr.Addr(), 51099)
	p.a.apply(t, p.a.config(append(strangers(t, 1), &p.b)...))
	got := p.a.peer(t, &p.b)
	if got.Endpoint != roamed {
		t.Errorf("b is at %v since the port changed; got %+v", roamed, got)
	}
	undisturbed(t, before, got)
	p.a.ping(t, "10.9.0.2")

	configured := p.a.config(&p.b)
	configured.Peers[0].Endpoint = netip.MustParseAddrPort("[2001:db8::2]:51099")
	p.a.apply(t, configured)
	if got := p.a.peer(t, &p.b); got.Endpoint != configured.Peers[0].Endpoint {
		t.Errorf("endpoint %v after it was configured to be %v", got.Endpoint, configured.Peers[0].Endpoint)
	}
	p.a.ping(t, "fd09::2") // now over IPv6 outside
}

// uapi speaks to a tunnel's UAPI socket and returns the last line of the answer.
func (p *pair) uapi(t *testing.T, name, request string) (last string) {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(p.dir, name+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(c); lines.Scan() && lines.Text() != ""; {
		last = lines.Text()
	}
	return last
}

func TestListenPort(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	var taken net.PacketConn
	var err error
	p.a.Do(func() { taken, err = net.ListenPacket("udp", ":51001") })
	if err != nil {
		t.Fatal(err)
	}
	applies := func(port uint16) (err error) {
		c := p.a.config(&p.b)
		c.ListenPort = port
		p.a.Do(func() { err = p.a.Apply(context.Background(), c) })
		return err
	}
	if err := applies(51001); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "51001") {
		t.Errorf("first Apply on a port that is taken: %v", err)
	}
	taken.Close()
	p.connect(t)

	before := p.a.peer(t, &p.b)
	p.a.Do(func() { taken, err = net.ListenPacket("udp", ":51003") })
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := applies(51003); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("change to a port that is taken: %v", err)
	}
	if s := p.a.stats(t); s.ListenPort != 51001 || s.Failing != "" {
		t.Errorf("after the failure it listens on %d; failing %q", s.ListenPort, s.Failing)
	}
	p.a.ping(t, "10.9.0.2")
	for _, port := range []uint16{51004, 0} { // 0 leaves the port as it is
		if err := applies(port); err != nil {
			t.Error(err)
		}
		if got := p.a.stats(t).ListenPort; got != 51004 {
			t.Errorf("port %d, want 51004", got)
		}
	}
	p.a.ping(t, "10.9.0.2")
	undisturbed(t, before, p.a.peer(t, &p.b))
}

// belated is when wireguard-go may shake hands again though it need not: it sets the
// timer of the retry after it has sent the initiation, and where the answer is there
// before, nobody stops it (device/send.go, SendHandshakeInitiation). A test takes that
// long on a busy machine alone.
const belated = 5 * time.Second

// undisturbed fails if there was a handshake in between that somebody asked for.
func undisturbed(t *testing.T, before, after tunnel.PeerStats) {
	t.Helper()
	if d := after.LastHandshake.Sub(before.LastHandshake); d != 0 && d < belated {
		t.Errorf("handshake at %v, then another at %v", before.LastHandshake, after.LastHandshake)
	}
}

func TestNewPrivateKey(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	before := p.a.peer(t, &p.b).LastHandshake
	p.a.key = newKey(t)
	p.b.apply(t, p.b.config(&p.a))
	p.a.apply(t, p.a.config(&p.b))
	until(t, "handshake under the new key, without traffic", func() bool { return p.a.peer(t, &p.b).LastHandshake.After(before) })
	p.a.ping(t, "10.9.0.2")
	if got := p.a.stats(t).PublicKey; got != p.a.key.Public() {
		t.Errorf("public key %s, want %s", got, p.a.key.Public())
	}
	if got := p.b.stats(t).Peers; len(got) != 1 {
		t.Errorf("b has peers %+v", got)
	}
}

func TestApplyRefuses(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	twice := p.a.config(&p.b, &p.b)
	for name, c := range map[string]tunnel.Config{"twice the same peer": twice, "no key": {}} {
		if err := p.a.Apply(context.Background(), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got := len(p.a.stats(t).Peers); got != 1 {
		t.Errorf("%d peers after refused configurations", got)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.a.Apply(done, p.a.config(append(strangers(t, 3), &p.b)...)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	stranger := strangers(t, 1)[0].key.Public()
	if err := p.a.Greet(p.b.key.Public(), stranger); err == nil || !strings.Contains(err.Error(), fmt.Sprint(stranger)) {
		t.Errorf("greeting of a stranger: %v", err)
	}
}
