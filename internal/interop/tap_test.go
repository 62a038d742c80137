package interop_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/wire"
)

// The types of messages, and the length of a transport message with nothing in
// it (WireGuard's paper, section 5.4).
const (
	initiation = 1
	response   = 2
	cookie     = 3
	transport  = 4

	keepaliveLength = 32
)

// message is what the tap tells apart.
type message struct {
	kind     byte
	sent     bool // by our end
	from, to netip.AddrPort
	mac2     bool // of an initiation or response: it carries a cookie's proof
	empty    bool // of a transport message: a keepalive
}

// tap counts the messages on the wire at our host's eth0.
type tap struct {
	mu        sync.Mutex // guards the rest
	seen      map[message]int
	plaintext []string
}

// where mac2 is in a message; its end is the message's.
var mac2At = map[byte]int{initiation: 132, response: 76}

// underlay is who may be on the wire: the ends, wherever they roam.
func underlay() wire.Cluster {
	var c wire.Cluster
	for n := 1; n <= 2; n++ {
		var ips []netip.Addr
		for _, d := range []int{0, 10, 20} { // 20: who floods the other end
			e := end{n: n + d}
			ips = append(ips, e.outer4(), e.outer6())
		}
		e := end{n: n}
		c.Nodes = append(c.Nodes, wire.Node{IPs: ips, PodCIDRs: []netip.Prefix{
			netip.PrefixFrom(e.inner4(), 32), netip.PrefixFrom(e.inner6(), 128),
		}})
	}
	for port := uint16(51001); port < 51030; port++ {
		c.Ports = append(c.Ports, port)
	}
	return c
}

// newTap counts until the test ends, which fails if there was plaintext.
func newTap(t *testing.T, h *privtest.Host) *tap {
	t.Helper()
	var capture *wire.Capture
	var device *net.Interface
	var err error
	h.Do(func() {
		if device, err = net.InterfaceByName("eth0"); err == nil {
			capture, err = wire.Open(wire.Options{})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	tap := &tap{seen: map[message]int{}}
	ctx, cancel := context.WithCancel(context.Background()) // longer than t.Context
	done := make(chan error, 1)
	classifier := wire.NewClassifier(underlay())
	go func() {
		_, err := capture.Run(ctx, func(f wire.Frame) {
			if f.Device == device.Index {
				tap.see(classifier.Classify(f), f)
			}
		})
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("tap: %v", err)
		}
		for _, p := range tap.plaintext {
			t.Errorf("on the wire: %s", p)
		}
	})
	return tap
}

func (tap *tap) see(p wire.Packet, f wire.Frame) {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	switch p.Class {
	case wire.WireGuard:
		m := message{kind: p.Message[0], sent: f.Outgoing, from: p.From, to: p.To}
		if at, ok := mac2At[m.kind]; ok && len(p.Message) >= at+16 {
			m.mac2 = [16]byte(p.Message[at:]) != [16]byte{}
		}
		m.empty = m.kind == transport && len(p.Message) == keepaliveLength
		tap.seen[m]++
	case wire.PlaintextPod, wire.PlaintextPodNode, wire.Malformed:
		tap.plaintext = append(tap.plaintext, p.Text)
	}
}

// count is how many messages there were that are as asked.
func (tap *tap) count(ask func(message) bool) (n int) {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	for m, times := range tap.seen {
		if ask(m) {
			n += times
		}
	}
	return n
}

// ofKind asks for messages of one type that one end sent.
func ofKind(kind byte, ours bool) func(message) bool {
	return func(m message) bool { return m.kind == kind && m.sent == ours }
}
