package bpf_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// randomAddress is most often in or near a prefix of members, where decisions
// change, and of either family.
func randomAddress(r *rand.Rand, members []member) netip.Addr {
	m := members[r.IntN(len(members))]
	raw := m.prefix.Addr().As16()
	low := m.prefix.Bits()
	if m.prefix.Addr().Is4() {
		low += 96
	}
	for bit := low; bit < 128; bit++ { // anywhere inside the prefix
		raw[bit/8] |= byte(r.IntN(2)) << (7 - bit%8)
	}
	if r.IntN(4) == 0 { // and now and then one bit outside it
		first := 0
		if m.prefix.Addr().Is4() {
			first = 96
		}
		bit := first + r.IntN(128-first)
		raw[bit/8] ^= 1 << (7 - bit%8)
	}
	return netip.AddrFrom16(raw).Unmap()
}

// randomFrame is mostly IP, with and without VLAN tags, every other one carried
// inside of another packet; sometimes cut short or with some of its bytes changed.
func randomFrame(r *rand.Rand, members []member) []byte {
	frame := make([]byte, 12, 200)
	for range []int{0, 0, 0, 0, 1, 2, 3}[r.IntN(7)] {
		frame = append(frame, [][]byte{{0x81, 0x00}, {0x88, 0xa8}}[r.IntN(2)]...)
		frame = binary.BigEndian.AppendUint16(frame, uint16(r.Uint32()))
	}
	source, destination := randomAddress(r, members), randomAddress(r, members)
	protocol, payload := randomPayload(r)
	if source.Is4() && destination.Is4() {
		frame = append(frame, 0x08, 0x00, 0x45, 0, 0, 48, 0, 0, byte(r.IntN(2))<<6, 0, 64, protocol, 0, 0)
		frame = append(append(frame, source.AsSlice()...), destination.AsSlice()...)
	} else {
		from, to := source.As16(), destination.As16()
		frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 28, protocol, 64)
		frame = append(append(frame, from[:]...), to[:]...)
	}
	frame = append(frame, payload...)
	switch r.IntN(16) {
	case 0:
		frame = extended(r, frame)
	case 1, 2, 3, 4, 5, 6, 7, 8:
		frame = wrap(r, frame, members)
	}
	if r.IntN(8) == 0 { // about as long as the tunnel takes
		frame = append(frame, make([]byte, max(0, randomMTU-100+r.IntN(200)-len(frame)))...)
	}
	if r.IntN(16) == 0 {
		frame = frame[:14+r.IntN(len(frame)-14)]
	}
	if r.IntN(16) == 0 {
		frame[12+r.IntN(len(frame)-12)] = byte(r.Uint32())
	}
	return frame
}

// randomMTU is that of the tunnel device.
const randomMTU = 1300

// randomPayload is what is behind an IP header: nothing much, ICMP, or a TCP header
// with options, most of which are well-formed.
func randomPayload(r *rand.Rand) (protocol byte, payload []byte) {
	payload = make([]byte, 28)
	switch r.IntN(4) {
	case 0:
		payload[0] = byte(r.Uint32())
		return []byte{1, 58}[r.IntN(2)], payload
	case 1:
		return 17, payload
	}
	payload = payload[:20]
	for len(payload) < 60 && r.IntN(8) > 0 {
		switch r.IntN(8) {
		case 0:
			payload = append(payload, byte(r.IntN(2)), byte(r.Uint32())) // the end, or nothing, and anything
		case 1, 2, 3:
			payload = binary.BigEndian.AppendUint16(append(payload, 2, 4), uint16(r.Uint32()))
		default:
			length := 2 + r.IntN(9)
			payload = append(append(payload, byte(r.Uint32()), byte(length)), make([]byte, length-2)...)
		}
	}
	payload[12] = byte(len(payload)+3)/4<<4 + byte(r.IntN(16))
	payload[13] = byte(r.Uint32())
	binary.BigEndian.PutUint16(payload[16:], uint16(r.Uint32()))
	return 6, payload
}

// extended puts options, or extension headers, behind the header of an untagged frame.
func extended(r *rand.Rand, frame []byte) []byte {
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		options := make([]byte, 4*(1+r.IntN(10)))
		frame = slices.Insert(frame, 14+20, options...)
		frame[14] += byte(len(options) / 4)
	case 0x86dd:
		for range 1 + r.IntN(5) {
			header := make([]byte, 8*(1+r.IntN(4)))
			header[0], header[1] = frame[14+6], byte(len(header)/8-1)
			frame = slices.Insert(frame, 14+40, header...)
			frame[14+6] = []byte{0, 43, 44, 60}[r.IntN(4)]
		}
	}
	return frame
}

// randomMembers are prefixes of every length and class, many inside others.
func randomMembers(r *rand.Rand) []member {
	members := append([]member(nil), cluster...)
	seen := map[netip.Prefix]bool{}
	for _, m := range members {
		seen[m.prefix] = true
	}
	for range 200 {
		addr := randomAddress(r, members)
		prefix := netip.PrefixFrom(addr, 1+r.IntN(addr.BitLen())).Masked()
		if addr.Is6() && prefix.Contains(netip.MustParseAddr("::ffff:0:0")) {
			continue // it would hold all of IPv4: see TestKey
		}
		if seen[prefix] {
			continue
		}
		seen[prefix] = true
		class := classes[r.IntN(len(classes))]
		peer := uint32(0)
		if class == bpf.ClassRemotePod || class == bpf.ClassRemoteNode {
			peer = 2 + r.Uint32N(2)
		}
		members = append(members, member{prefix, class, peer})
	}
	return members
}

// refused are frames that some kernels do not test-run: nothing behind the
// Ethernet header, or an IP header cut short right behind it.
func refused(frame []byte) bool {
	etherType := binary.BigEndian.Uint16(frame[12:])
	return len(frame) <= 14 || etherType == 0x0800 && len(frame) < 14+20 || etherType == 0x86dd && len(frame) < 14+40
}

// hardToDraw are outcomes that few random packets have, and in some tables none.
var hardToDraw = []bpf.Outcome{
	{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonTooLong},
	{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonTooLongUnanswered},
	{Hook: bpf.HookEgress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonUnknownNode},
	{Hook: bpf.HookIngress, Verdict: bpf.VerdictPass, Reason: bpf.ReasonUnknownNode},
}

// More than a million random packets through random tables: every action and every
// counter is the twin's. Short, as in emulated machines, is an eighth of them. More
// tables are drawn, up to eight, while an outcome is missing that is hard to draw.
func TestRandomPackets(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	tables := 8
	if testing.Short() {
		tables = 1
	}
	device := tunnelDevice(t, randomMTU)
	missing := slices.Clone(hardToDraw)
	for n := 0; n < tables || n < tables+8 && len(missing) > 0; n++ {
		counts := randomTable(t, r, device)
		if t.Failed() {
			t.Fatalf("seed %d, table %d", seed, n)
		}
		missing = slices.DeleteFunc(missing, func(o bpf.Outcome) bool { return counts.Verdicts[o].Packets > 0 })
	}
	for _, o := range missing {
		t.Errorf("seed %d: no random packet is %s by %s at %s", seed, o.Verdict, o.Reason, o.Hook)
	}
}

// randomTable sends 2,700 random packets, less those that cannot be test-run, through
// each program under each policy, 140,400 in all, by one random table. It returns what
// they were counted as.
func randomTable(t *testing.T, r *rand.Rand, device int) tally {
	s := load(t)
	s.device, s.mtu = device, randomMTU
	members := randomMembers(r)
	for _, m := range members {
		s.put(t, m)
	}
	want := s.counts(t)
	for _, name := range []string{"strict", "strict without tunnel", "permissive", "permissive without tunnel"} {
		p := policies[name]
		s.set(t, p)
		for _, program := range programs {
			for range 2700 {
				frame := randomFrame(r, members)
				if refused(frame) {
					continue
				}
				expected := twin(program, frame, p, members, s.mtu)
				action, out := s.run(t, program, frame)
				if action != expected.action {
					t.Errorf("%s, %s: % x: action %d, want %d (%+v)", name, program, frame, action, expected.action, expected.outcome)
					return want
				}
				if !bytes.Equal(out, expected.out) {
					t.Errorf("%s: % x becomes % x, want % x", program, frame, out, expected.out)
					return want
				}
				want = expect(want, expected, 1, frame)
			}
		}
	}
	if diff := cmp.Diff(want, s.counts(t), ignoreLayout); diff != "" {
		t.Errorf("counters (-want +got)\n%s", diff)
	}
	return want
}
