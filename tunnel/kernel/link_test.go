package kernel

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
)

// TestStats: what one side sends the other receives, and losses have names.
func TestStats(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	connect(t, a, b)
	before := b.stats(t)
	s := startStream(t, a, b)
	time.Sleep(50 * pace)
	sent, lost := s.end()
	if lost != 0 {
		t.Fatalf("%d of %d lost", lost, sent)
	}
	sa, sb := a.stats(t), b.stats(t)
	if n := sb.FromUDP.Packets - before.FromUDP.Packets; n < uint64(sent) || sa.ToUDP.Packets < n {
		t.Errorf("%d sent, %d of %d messages received", sent, n, sa.ToUDP.Packets)
	}
	if sb.PublicKey != b.key.Public() || sb.ListenPort != port || sa.Peers[0].TxBytes < uint64(sent)*36 || sb.Peers[0].RxBytes < uint64(sent)*36 {
		t.Errorf("a %+v\nb %+v", sa, sb)
	}
	a.Do(func() {
		c, err := net.Dial("udp", "10.7.7.7:9") // nobody's
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write([]byte("x")) // the kernel says that no peer has it
	})
	if n := a.stats(t).Drops[DropLinkTxError]; n == 0 {
		t.Errorf("a packet that no peer takes: drops %v", a.stats(t).Drops)
	}
	link, err := a.tunnel.Link()
	if err != nil || link.Name != "wga" || link.MTU != 1400 || link.Index == 0 {
		t.Errorf("link %+v, %v", link, err)
	}
}

// TestForeignLinks: a link of the name that is not ours stays as it is.
func TestForeignLinks(t *testing.T) {
	if !isolated(t) {
		return
	}
	h := privtest.NewHost(t, unix.CLONE_NEWNET)
	for _, kind := range []string{"dummy", "wireguard"} {
		h.Sh(t, "ip link add wgx type %s", kind)
		before := h.Sh(t, "ip -d link show wgx")
		tun, err := New(Options{Interface: "wgx"})
		if err != nil {
			t.Fatal(err)
		}
		h.Do(func() { err = tun.Run(t.Context()) })
		if err == nil || !strings.Contains(err.Error(), "ip link delete wgx") {
			t.Errorf("%s: %v", kind, err)
		}
		h.Do(func() {
			if found, _, err := Find("wgx"); err != nil || found != (tunnel.Link{}) {
				t.Errorf("%s: found %v, %v", kind, found, err)
			}
			if removed, err := Remove("wgx"); err != nil || removed {
				t.Errorf("%s: removed %v, %v", kind, removed, err)
			}
		})
		if after := h.Sh(t, "ip -d link show wgx"); after != before {
			t.Errorf("%s: was %s, is %s", kind, before, after)
		}
		h.Sh(t, "ip link delete wgx")
	}
}

// TestProbeLeavesNothing, and nothing where it was not called.
func TestProbeLeavesNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	h, other := privtest.NewHost(t, unix.CLONE_NEWNET), privtest.NewHost(t, unix.CLONE_NEWNET)
	h.Do(func() {
		if err := Probe(); err != nil {
			t.Error(err)
		}
	})
	for _, o := range []*privtest.Host{h, other} {
		if links := links(t, o); links != "lo" {
			t.Errorf("links %s", links)
		}
	}
}

// TestStrays: a link is made under a name that counts as a stray's, until it has its own.
func TestStrays(t *testing.T) {
	if !isolated(t) {
		return
	}
	h := privtest.NewHost(t, unix.CLONE_NEWNET)
	h.Do(func() {
		links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			t.Fatal(err)
		}
		defer links.Close()
		left, err := fresh(links)
		if err == nil {
			_, err = named(links, "wgx")
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range [][]string{{left.Attrs().Name}, nil} {
			if removed, err := RemoveStrays(); err != nil || !slices.Equal(removed, want) {
				t.Errorf("removed %v, %v; want %v", removed, err, want)
			}
		}
	})
	if links := links(t, h); links != "lo wgx" {
		t.Errorf("links %s", links)
	}
}

// TestLinkThatGoes: set down it is up again; deleted, Run ends and says so.
func TestLinkThatGoes(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	connect(t, a, b)
	was := a.peer(t, b).LastHandshake
	a.Sh(t, "ip link set wga down")
	until(t, "new session", func() bool { return a.peer(t, b).LastHandshake.After(was) })

	// Set down while nobody runs it, it has a new session after the next start.
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a.Sh(t, "ip link set wga down")
	start := time.Now()
	a.run(t)
	a.apply(t, a.to(b))
	until(t, "session after the start", func() bool { return a.peer(t, b).LastHandshake.After(start) })

	h := privtest.NewHost(t, unix.CLONE_NEWNET)
	tun, err := New(Options{Interface: "wgx"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go inNamespace(h, func() { ended <- tun.Run(ctx) })
	<-tun.Ready()
	h.Sh(t, "ip link delete wgx")
	if err := <-ended; !errors.Is(err, ErrGone) {
		t.Errorf("Run: %v", err)
	}
	if _, err := tun.Stats(); !errors.Is(err, tunnel.ErrNotRunning) {
		t.Errorf("Stats after it: %v", err)
	}
}

// TestPortTaken: the old port stays.
func TestPortTaken(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	connect(t, a, b)
	start(t, a.Host, Options{Interface: "wgx"})
	a.Sh(t, "wg set wgx listen-port 999")
	c := a.to(b)
	c.ListenPort = 999
	if err := a.tunnel.Apply(t.Context(), c); err == nil || !strings.Contains(err.Error(), "999") {
		t.Errorf("a port that is taken: %v", err)
	}
	if is := a.stats(t).ListenPort; is != port {
		t.Errorf("port %d", is)
	}
}
