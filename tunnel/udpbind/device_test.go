package udpbind_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// node is a wireguard-go device on a Bind.
type node struct {
	*end
	device  *device.Device
	tun     *tuntest.ChannelTUN
	key     *ecdh.PrivateKey
	address netip.Addr // inside
}

func newNode(t *testing.T, address string) *node {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		end:     &end{Bind: udpbind.New(udpbind.Options{}), t: t},
		tun:     tuntest.NewChannelTUN(),
		key:     key,
		address: netip.MustParseAddr(address),
	}
	n.device = device.NewDevice(n.tun.TUN(), n.Bind, device.NewLogger(device.LogLevelError, "node: "))
	n.set("private_key=%x", key.Bytes())
	if err := n.device.Up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.device.Close()
		if err := n.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// set sends lines of UAPI to the device.
func (n *node) set(format string, arguments ...any) {
	n.t.Helper()
	if err := n.device.IpcSet(fmt.Sprintf(format, arguments...)); err != nil {
		n.t.Fatalf("set: %v", err)
	}
}

func (n *node) addPeer(peer *node, outside string) {
	n.t.Helper()
	n.set("public_key=%s\nallowed_ip=%s/32\nendpoint=%s", hex.EncodeToString(peer.key.PublicKey().Bytes()),
		peer.address, netip.AddrPortFrom(netip.MustParseAddr(outside), peer.Stats().Port))
}

// ping sends a packet through the tunnel and waits for it.
func (n *node) ping(to *node) {
	n.t.Helper()
	packet := tuntest.Ping(to.address, n.address)
	timeout := time.After(patience)
	select {
	case n.tun.Outbound <- packet:
	case <-timeout:
		n.t.Fatalf("the device of %s reads no packet", n.address)
	}
	select {
	case got := <-to.tun.Inbound:
		if !bytes.Equal(packet, got) {
			n.t.Fatalf("another packet came from %s to %s", n.address, to.address)
		}
	case <-timeout:
		n.t.Fatalf("no packet came from %s to %s: sent %+v, received %+v", n.address, to.address, n.Stats().Sent, to.Stats().Received)
	}
}

func TestDevices(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	for _, outside := range []string{"127.0.0.1", "::1"} {
		t.Run(outside, func(t *testing.T) {
			a, b := newNode(t, "10.0.0.1"), newNode(t, "10.0.0.2")
			a.addPeer(b, outside)
			b.addPeer(a, outside)
			before := a.identities()
			pings := uint64(0)
			both := func() {
				t.Helper()
				for range 5 {
					a.ping(b)
					b.ping(a)
					pings++
				}
			}
			both()
			// A mark and the same port again make wireguard-go reopen the Bind.
			a.set("fwmark=%d", 7)
			a.set("listen_port=%d", a.Stats().Port)
			both()
			a.set("fwmark=%d", 0)
			if err := a.device.BindUpdate(); err != nil {
				t.Fatal(err)
			}
			both()
			if err := a.device.Down(); err != nil {
				t.Fatal(err)
			}
			if err := a.device.Up(); err != nil {
				t.Fatal(err)
			}
			a.ping(b)
			b.ping(a)
			pings++
			if diff := cmp.Diff(before, a.identities()); diff != "" {
				t.Errorf("sockets (-before +after):\n%s", diff)
			}
			for _, n := range []*node{a, b} {
				// The last handshake message may still be on its way out.
				var s udpbind.Stats
				waitFor(t, "all messages to be sent", func() bool { s = n.Stats(); return s.Sent == s.Offered })
				if s.Offered.Transport != pings || s.Received.Transport != pings {
					t.Errorf("%s: %d pings each way, but %+v", n.address, pings, s)
				}
				if s.Sent.Handshakes() == 0 || s.Received.Handshakes() == 0 {
					t.Errorf("%s: no handshakes in %+v", n.address, s)
				}
				if d := nonZero(s.Drops); len(d) > 0 {
					t.Errorf("%s: drops %v", n.address, d)
				}
			}

			// Another port: the peer follows what it hears.
			c := newNode(t, "10.0.0.3")
			taken := c.Stats().Port
			if err := a.device.IpcSet(fmt.Sprintf("listen_port=%d", taken)); err == nil || !strings.Contains(err.Error(), "in use") {
				t.Errorf("a port in use: %v", err)
			}
			if diff := cmp.Diff(before, a.identities()); diff != "" {
				t.Errorf("sockets after a port in use (-before +after):\n%s", diff)
			}
			c.device.Close()
			if err := c.Shutdown(); err != nil {
				t.Fatal(err)
			}
			a.set("listen_port=%d", taken)
			if got := a.Stats().Port; got != taken {
				t.Errorf("port %d, want %d", got, taken)
			}
			a.ping(b)
			b.ping(a)
		})
	}
}

// TestDeviceClose: the sockets outlive the device.
func TestDeviceClose(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a, b := newNode(t, "10.0.0.1"), newNode(t, "10.0.0.2")
	a.addPeer(b, "127.0.0.1")
	b.addPeer(a, "127.0.0.1")
	a.ping(b)
	before := b.identities()
	b.device.Close()
	if diff := cmp.Diff(before, b.identities()); diff != "" {
		t.Errorf("sockets (-before +after):\n%s", diff)
	}
	successor := &end{Bind: b.Bind, t: t, inbox: make(chan received, 10)}
	a.tun.Outbound <- tuntest.Ping(b.address, a.address)
	waitFor(t, "the packet to be sent", func() bool { return a.Stats().Sent.Transport == 2 })
	successor.open(0)
	for {
		if m := successor.expect(1)[0].message; m[0] == 4 && len(m) > 32 {
			break
		}
	}
	successor.close()
}
