package userspace_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
	"github.com/wgsteer/wgsteer/wgkey"
)

// wg runs wg(8) as if the pair's UAPI sockets were where it looks for them.
func (p *pair) wg(t *testing.T, args string) string {
	t.Helper()
	privtest.Tool(t, "wg")
	return p.a.Sh(t, "unshare --mount sh -ec 'mount -t tmpfs none /run; mkdir /run/wireguard; mount --bind %s /run/wireguard; wg %s'", p.dir, args)
}

func TestWG(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	p.connect(t)
	out := p.wg(t, "show wga")
	for _, part := range []string{
		"interface: wga", "public key: " + p.a.key.Public().String(), "listening port: 51001",
		"peer: " + p.b.key.Public().String(), "endpoint: 192.0.2.2:51002", "allowed ips: 10.9.0.2/32, fd09::2/128", "latest handshake: ",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("wg show does not print %q:\n%s", part, out)
		}
	}

	// What wg changes works, and the next Apply sets it right.
	before := p.a.peer(t, &p.b)
	stranger := newKey(t).Public()
	p.wg(t, "set wga listen-port 51009 fwmark 7 peer "+stranger.String()+" allowed-ips 10.77.0.0/16,10.9.0.2/32 persistent-keepalive 5 endpoint 192.0.2.77:7")
	if got := p.a.stats(t); got.ListenPort != 51009 || len(got.Peers) != 2 {
		t.Errorf("after wg set: %+v", got)
	}
	p.a.apply(t, p.a.config(&p.b))
	out = p.wg(t, "show wga")
	for _, part := range []string{stranger.String(), "51009", "fwmark", "10.77"} {
		if strings.Contains(out, part) {
			t.Errorf("%q is still there after Apply:\n%s", part, out)
		}
	}
	p.a.ping(t, "10.9.0.2") // the prefix that wg moved is back
	if got := p.a.peer(t, &p.b); !got.LastHandshake.Equal(before.LastHandshake) {
		t.Error("the repair cost the session")
	}
}

// The UAPI socket says who has the name: on this host for the directory, in
// this namespace for the link.
func TestNamesAreUnique(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	elsewhere, err := userspace.New(userspace.Options{Interface: "wga", UAPIDir: p.dir})
	if err != nil {
		t.Fatal(err)
	}
	p.b.Do(func() { err = elsewhere.Run(context.Background()) })
	if err == nil || !strings.Contains(err.Error(), filepath.Join(p.dir, "wga.sock")) || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("same UAPI socket: %v", err)
	}
	if _, err := net.InterfaceByName("wga"); err == nil {
		t.Error("a link is left over")
	}
	same, err := userspace.New(userspace.Options{Interface: "wgb", UAPIDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	p.b.Do(func() { err = same.Run(context.Background()) })
	if err == nil || !strings.Contains(err.Error(), "a tuntap link of that name exists") {
		t.Errorf("same link: %v", err)
	}
	p.connect(t) // and those that have the names go on
}

func TestProbe(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newPair(t)
	c := p.a.config(append(strangers(t, 1), &p.b)...)
	silent, answers, homeless := c.Peers[0], c.Peers[1], tunnel.Peer{PublicKey: newKey(t).Public()}
	p.b.apply(t, p.b.config(&p.a))
	if err := p.a.stop(t); err != nil {
		t.Fatal(err)
	}
	var got map[wgkey.PublicKey]error
	var err error
	p.a.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
		defer cancel()
		got, err = userspace.Probe(ctx, p.a.key, 51001, []tunnel.Peer{silent, answers, homeless})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := got[answers.PublicKey]; err != nil || len(got) != 3 {
		t.Errorf("b: %v, among %d", err, len(got))
	}
	if err := got[silent.PublicKey]; !errors.Is(err, userspace.ErrNoAnswer) || !strings.Contains(err.Error(), silent.Endpoint.String()) {
		t.Errorf("silent peer: %v", err)
	}
	if err := got[homeless.PublicKey]; err == nil || errors.Is(err, userspace.ErrNoAnswer) {
		t.Errorf("peer without endpoint: %v", err)
	}

	p.b.Do(func() { _, err = userspace.Probe(context.Background(), p.b.key, 51002, nil) })
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("probe from a port that is taken: %v", err)
	}
}
