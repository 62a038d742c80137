package interop_test

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/wgsteer/wgsteer/wgkey"
)

// byHand is the other end of a pair, without a tunnel: a socket and initiators.
type byHand struct {
	*pair
	*net.UDPConn
	psk wgkey.PresharedKey
}

func newByHand(t *testing.T) *byHand {
	t.Helper()
	b := &byHand{pair: newHalf(t, syscall.CLONE_NEWNET), psk: newPresharedKey(t)}
	b.ours.Sh(t, "ip addr add %v/24 dev %s", b.ours.inner4(), b.ours.name)
	mine, _ := b.configs("responder", false, b.psk)
	b.ours.apply(t, mine)
	var err error
	b.theirs.Do(func() {
		b.UDPConn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(b.theirs.outer(false)), net.UDPAddrFromAddrPort(b.ours.outer(false)))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// next is the next message that our end sends.
func (b *byHand) next(t *testing.T) []byte {
	t.Helper()
	_ = b.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 2048)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatalf("no answer from our end: %v", err)
	}
	return buf[:n]
}

func (b *byHand) send(t *testing.T, message []byte) {
	t.Helper()
	if _, err := b.Write(message); err != nil {
		t.Fatal(err)
	}
}

// shakeHands is a session with our end.
func (b *byHand) shakeHands(t *testing.T, index uint32) *initiator {
	t.Helper()
	i, err := newInitiator(b.theirs.key, b.ours.key.Public(), b.psk, index)
	if err != nil {
		t.Fatal(err)
	}
	first, err := i.initiation(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.send(t, first)
	if err := i.finish(b.next(t)); err != nil {
		t.Fatal(err)
	}
	return i
}

// datagram is an inner packet for the echo of our host.
func (b *byHand) datagram(t *testing.T, payload []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: b.theirs.inner4().AsSlice(), DstIP: b.ours.inner4().AsSlice()}
	udp := &layers.UDP{SrcPort: 4711, DstPort: echoPort}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(payload))
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// echoed sends a payload through a session and wants it back.
func (b *byHand) echoed(t *testing.T, i *initiator, payload []byte) {
	t.Helper()
	b.send(t, i.transport(b.datagram(t, payload)))
	for {
		plain, err := i.open(b.next(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) == 0 {
			continue // a keepalive
		}
		packet := gopacket.NewPacket(plain, layers.LayerTypeIPv4, gopacket.Default)
		ip, _ := packet.NetworkLayer().(*layers.IPv4)
		udp, _ := packet.TransportLayer().(*layers.UDP)
		if ip == nil || udp == nil || netip.MustParseAddr(ip.SrcIP.String()) != b.ours.inner4() || !bytes.Equal(udp.Payload, payload) {
			t.Fatalf("our end sent %v", packet)
		}
		return
	}
}

// TestByPaper: our end answers an initiator that was written from the paper
// alone, session after session, and refuses one that errs.
func TestByPaper(t *testing.T) {
	t.Log("other end: this test's own initiator, from WireGuard's paper, over golang.org/x/crypto")
	b := newByHand(t)
	for n := uint32(1); n <= 3; n++ {
		i := b.shakeHands(t, n)
		for _, size := range []int{0, 1, 15, 16, 17, 1000} {
			b.echoed(t, i, []byte(strings.Repeat("x", size)))
		}
		time.Sleep(50 * time.Millisecond) // an initiation within 20 ms of the last is a flood's
	}
	responses := func() int { return b.tap.count(ofKind(response, true)) }
	const before = 3
	until(t, "response to each initiation at the tap", func() bool { return responses() >= before })
	for name, spoil := range map[string]func(m []byte){
		"the first MAC": func(m []byte) { m[116] ^= 1 },
		"the timestamp": func(m []byte) { m[90] ^= 1; remac(t, m, b.ours.key.Public()) },
		"the static":    func(m []byte) { m[40] ^= 1; remac(t, m, b.ours.key.Public()) },
	} {
		i, err := newInitiator(b.theirs.key, b.ours.key.Public(), b.psk, 77)
		if err != nil {
			t.Fatal(err)
		}
		m, err := i.initiation(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		spoil(m)
		b.send(t, m)
		time.Sleep(50 * time.Millisecond)
		if responses() != before {
			t.Errorf("%s was wrong, and our end answered", name)
		}
	}
	b.echoed(t, b.shakeHands(t, 5), []byte("still here"))
	until(t, "response to the last initiation at the tap", func() bool { return responses() > before })
	if n := responses(); n != before+1 {
		t.Errorf("%d responses, want %d: one more than before what was spoilt", n, before+1)
	}
}

// remac makes the first MAC right again.
func remac(t *testing.T, m []byte, to wgkey.PublicKey) {
	t.Helper()
	again, err := withMACs(m[:116:116], to[:])
	if err != nil {
		t.Fatal(err)
	}
	copy(m, again)
}
