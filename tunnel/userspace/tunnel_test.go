package userspace_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/tundev"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
)

func TestNew(t *testing.T) {
	for _, name := range []string{"", "..", "a/b"} {
		if got, err := userspace.New(userspace.Options{Interface: name}); err == nil || got != nil {
			t.Errorf("New(%q) = %v, %v", name, got, err)
		}
	}
	tun, err := userspace.New(userspace.Options{Interface: "wgt0"})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Apply": tun.Apply(context.Background(), tunnel.Config{PrivateKey: newKey(t)}),
		"Greet": tun.Greet(), "Link": second(tun.Link()), "Stats": second(tun.Stats()),
	} {
		if !errors.Is(err, tunnel.ErrNotRunning) {
			t.Errorf("%s before Run: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestPacketsPass(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	p.a.ping(t, "fd09::2")
	p.b.ping(t, "fd09::1")

	if link, err := p.a.Link(); err != nil || link.Name != "wga" || link.MTU != 1420 || link.Index == 0 {
		t.Errorf("link %+v, %v", link, err)
	}
	s := p.a.stats(t)
	if s.PublicKey != p.a.key.Public() || s.ListenPort != 51001 || s.Failing != "" {
		t.Errorf("stats %+v", s)
	}
	if q := p.a.peer(t, &p.b); q.Endpoint != p.b.addr || time.Since(q.LastHandshake) > patience || q.RxBytes == 0 || q.TxBytes == 0 {
		t.Errorf("peer %+v", q)
	}
	for name, c := range map[string]tunnel.Counts{"FromTUN": s.FromTUN, "ToTUN": s.ToTUN, "FromUDP": s.FromUDP, "ToUDP": s.ToUDP, "TUNReads": s.TUNReads} {
		if c.Packets < 2 || c.Bytes < 28*c.Packets {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if err := p.a.stop(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := p.a.Greet(); !errors.Is(err, tunnel.ErrNotRunning) {
		t.Errorf("after Run: %v", err)
	}
	if err := p.a.Run(context.Background()); err == nil {
		t.Error("Run ran twice")
	}
}

// One packet to nowhere and one from a forged source are lost in the engine,
// and counted.
func TestEngineLossIsCounted(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	before := p.a.stats(t).Drops
	for _, to := range []string{"10.9.0.77", "10.9.0.78"} {
		c := p.a.dial(t, to)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "count of packets without a peer", func() bool {
		return p.a.stats(t).Drops[userspace.DropEngineOut] == before[userspace.DropEngineOut]+2
	})
	p.b.Sh(t, "ip addr add 10.9.9.9/32 dev wgb")
	var err error
	p.b.Do(func() {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(10, 9, 9, 9)}}
		var c net.Conn
		if c, err = d.Dial("udp", "10.9.0.1:7"); err == nil {
			_, err = c.Write([]byte("x"))
			c.Close()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "count of a packet from a source that is not the peer's", func() bool {
		return p.a.stats(t).Drops[userspace.DropEngineIn] == before[userspace.DropEngineIn]+1
	})
}

// TCP's GSO packets come out of the kernel whole.
func TestReadsAreWhole(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	// On a busy machine TCP is slow, and makes smaller packets of what is slow
	// (tcp_tso_autosize): of three transfers one has to have long ones.
	whole := func(network, addr string) bool {
		before := p.a.stats(t)
		p.transfer(t, network, addr, 8<<20)
		after := p.a.stats(t)
		reads := after.TUNReads.Packets - before.TUNReads.Packets
		mean := (after.TUNReads.Bytes - before.TUNReads.Bytes) / reads
		t.Logf("%s: %d reads of %d bytes on average; %d packets for the engine", network, reads, mean, after.FromTUN.Packets-before.FromTUN.Packets)
		if packets := after.FromTUN.Packets - before.FromTUN.Packets; packets < 8<<20/1400 {
			t.Errorf("%s: %d packets carried 8 MiB", network, packets)
		}
		return mean > 20_000
	}
	for network, addr := range map[string]string{"tcp4": "10.9.0.2", "tcp6": "fd09::2"} {
		ok := false
		for attempt := 0; attempt < 3 && !ok; attempt++ {
			ok = whole(network, addr)
		}
		if !ok {
			t.Errorf("%s: the mean read is 20,000 bytes at most, want more", network)
		}
	}
}

// transfer sends n bytes by TCP from a to b.
func (p *pair) transfer(t *testing.T, network, addr string, n int64) {
	t.Helper()
	var l net.Listener
	var c net.Conn
	var err error
	p.b.Do(func() { l, err = net.Listen(network, net.JoinHostPort(addr, "5001")) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- err
			return
		}
		defer c.Close()
		received, err := io.Copy(io.Discard, c)
		if err == nil && received != n {
			err = fmt.Errorf("%d of %d bytes arrived", received, n)
		}
		got <- err
	}()
	p.a.Do(func() { c, err = net.Dial(network, l.Addr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(c, zeroes{}, n)
	c.Close()
	if err = errors.Join(err, <-got); err != nil {
		t.Fatal(err)
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestLinkDeletedEndsRun(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	p.a.Sh(t, "ip link delete wga")
	select {
	case err := <-p.a.ended:
		p.a.ended <- err
		if !errors.Is(err, tundev.ErrGone) || !strings.Contains(err.Error(), "wga") {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Run goes on without its link")
	}
}

func TestLinkDownComesUpAgain(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	p.a.Sh(t, "ip link set wga down")
	until(t, "the link up", func() bool { return strings.Contains(p.a.Sh(t, "ip link show up"), "wga:") })
	until(t, "nothing failing", func() bool { return p.a.stats(t).Failing == "" })
	p.a.ping(t, "10.9.0.2")
}

func TestNoGoroutineIsLeft(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	h := privtest.NewHost(t, 0)
	before := runtime.NumGoroutine()
	for range 3 {
		n := node{Host: h, name: "wga", key: newKey(t), addr: netip.MustParseAddrPort("192.0.2.1:51001")}
		n.start(t, t.TempDir())
		n.apply(t, n.config(&node{key: newKey(t), addr: netip.MustParseAddrPort("192.0.2.9:9")}))
		if err := n.stop(t); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
}
