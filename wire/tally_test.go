package wire_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/wgsteer/wgsteer/wire"
)

// shake is a datagram with a message of a handshake and its two indexes.
func shake(t *testing.T, from, to string, kind uint32, length int, indexes ...uint32) []byte {
	t.Helper()
	m := message(kind, length)
	for i, index := range indexes {
		binary.LittleEndian.PutUint32(m[4+4*i:], index)
	}
	return frame(t, ip(from, to, layers.IPProtocolUDP), udp(port, port), gopacket.Payload(m))
}

func TestHandshakes(t *testing.T) {
	type step struct {
		at    time.Duration
		in    bool
		frame []byte
	}
	out := func(at time.Duration, index uint32) step {
		return step{at, false, shake(t, nodeA, nodeB, 1, 148, index)}
	}
	const end = 10 * time.Second
	for _, tc := range []struct {
		name  string
		steps []step
		want  wire.Remote
	}{
		{"answered", []step{out(0, 7), {time.Millisecond, true, shake(t, nodeB, nodeA, 2, 92, 9, 7)}}, wire.Remote{Initiated: 1}},
		{"not answered", []step{out(0, 7)}, wire.Remote{Initiated: 1, Unanswered: 1}},
		{"too young to tell", []step{out(end-wire.Grace/2, 7)}, wire.Remote{Initiated: 1}},
		{"answered at the second attempt", []step{out(0, 7), out(5*time.Second, 8), {5 * time.Second, true, shake(t, nodeB, nodeA, 2, 92, 9, 8)}},
			wire.Remote{Initiated: 2, Unanswered: 1}},
		{"the answer to another", []step{out(0, 7), {0, true, shake(t, nodeB, nodeA, 2, 92, 7, 9)}}, wire.Remote{Initiated: 1, Unanswered: 1}},
		{"an answer from ourselves", []step{out(0, 7), {0, false, shake(t, nodeA, nodeB, 2, 92, 9, 7)}}, wire.Remote{Initiated: 1, Unanswered: 1}},
		{"a cookie", []step{out(0, 7), {0, true, shake(t, nodeB, nodeA, 3, 64, 7)}}, wire.Remote{Initiated: 1}},
		{"its own, answered", []step{{0, true, shake(t, nodeB, nodeA, 1, 148, 3)}, {0, false, shake(t, nodeA, nodeB, 2, 92, 4, 3)}}, wire.Remote{InitiatedByIt: 1}},
		{"its own, not answered", []step{{0, true, shake(t, nodeB, nodeA, 1, 148, 3)}}, wire.Remote{InitiatedByIt: 1, UnansweredByUs: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tally, start := wire.NewTally(wire.NewClassifier(cluster)), time.Unix(0, 0)
			for _, s := range tc.steps {
				f := seen(s.frame)
				f.Outgoing = !s.in
				tally.See(f, start.Add(s.at))
			}
			tc.want.Addr = netip.AddrPortFrom(netip.MustParseAddr(nodeB), port)
			got := tally.Sum(start.Add(end)).Remotes
			if diff := cmp.Diff([]wire.Remote{tc.want}, got, cmpopts.IgnoreFields(wire.Remote{}, "Sent", "Received"), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("remotes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTallyOfPlaintext(t *testing.T) {
	tally := wire.NewTally(wire.NewClassifier(cluster))
	see := func(in bool, data []byte) {
		f := seen(data)
		f.Outgoing = !in
		tally.See(f, time.Time{})
	}
	tcp := &layers.TCP{SrcPort: 1, DstPort: 2, DataOffset: 5}
	plain := frame(t, ip(podA, podB, layers.IPProtocolTCP), tcp)
	back := frame(t, ip(podB, nodeA, layers.IPProtocolTCP), tcp)
	for range 3 {
		see(false, plain)
	}
	see(true, back)
	see(false, frame(t, ip(nodeA, nodeB, layers.IPProtocolTCP), tcp))
	see(false, append(plain[:14:14], 0x45))
	a, b := netip.MustParseAddr(podA), netip.MustParseAddr(podB)
	bytes := uint64(len(plain))
	want := wire.Sum{
		Plaintext: wire.Count{Frames: 4, Bytes: 4 * bytes}, Malformed: wire.Count{Frames: 1, Bytes: 15}, Other: wire.Count{Frames: 1, Bytes: bytes},
		Pairs: []wire.Pair{
			{From: a, To: b, Device: 1, Outgoing: true, Class: wire.PlaintextPod, Text: podA + " > " + podB + " TCP", Count: wire.Count{Frames: 3, Bytes: 3 * bytes}},
			{From: b, To: netip.MustParseAddr(nodeA), Device: 1, Class: wire.PlaintextPodNode, Text: podB + " > " + nodeA + " TCP", Count: wire.Count{Frames: 1, Bytes: bytes}},
		},
	}
	if diff := cmp.Diff(want, tally.Sum(time.Time{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("sum (-want +got):\n%s", diff)
	}

	for i := range 2 * wire.MaxPairs {
		see(false, frame(t, ip(podA, fmt.Sprintf("10.244.2.%d", 100+i), layers.IPProtocolTCP), tcp))
	}
	sum := tally.Sum(time.Time{})
	if len(sum.Pairs) != wire.MaxPairs || sum.Plaintext.Frames != 4+2*wire.MaxPairs {
		t.Errorf("%d pairs and %d frames, want %d and all %d", len(sum.Pairs), sum.Plaintext.Frames, wire.MaxPairs, 4+2*wire.MaxPairs)
	}
}

// BenchmarkTally is what a frame costs: where more than its inverse arrive a
// second, a capture loses some.
func BenchmarkTally(b *testing.B) {
	for _, kind := range []struct {
		name string
		data []byte
	}{
		{"wireguard", frame(b, ip(nodeA, nodeB, layers.IPProtocolUDP), udp(port, port), message(4, 1452))[:512]},
		{"other", frame(b, ip(nodeA, nodeB, layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2, DataOffset: 5}, message(0, 1400))[:512]},
	} {
		b.Run("frame="+kind.name, func(b *testing.B) {
			tally, f := wire.NewTally(wire.NewClassifier(cluster)), seen(kind.data)
			b.ReportAllocs()
			for b.Loop() {
				tally.See(f, time.Time{})
			}
		})
	}
}
