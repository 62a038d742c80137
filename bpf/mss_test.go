package bpf_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// What options of a SYN hold, as bytes.
var (
	nothing    = []byte{1}
	windowSize = []byte{3, 3, 7}
	timestamps = []byte{8, 10, 0, 0, 0, 1, 0, 0, 0, 0}
)

func mss(value int) []byte { return []byte{2, 4, byte(value >> 8), byte(value)} }

// segment is a TCP header with options as they are, and a payload, with a checksum.
func segment(source, destination netip.Addr, flags byte, payload string, options ...[]byte) []byte {
	b := make([]byte, 20, 80)
	copy(b, []byte{0x9c, 0x40, 0, 80, 0, 0, 0, 1})
	b = append(b, bytes.Join(options, nil)...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	b[12], b[13] = byte(len(b)/4)<<4, flags
	b = append(b, payload...)
	check := ^segmentSum(source, destination, b)
	b[16], b[17] = byte(check>>8), byte(check)
	return b
}

// segmentSum is 0xffff for a segment whose checksum is right.
func segmentSum(source, destination netip.Addr, b []byte) uint16 {
	pseudo := append(source.AsSlice(), destination.AsSlice()...)
	pseudo = append(pseudo, 0, 6, byte(len(b)>>8), byte(len(b)))
	pseudo = append(pseudo, b...)
	return sum(append(pseudo, make([]byte, len(b)%2)...))
}

const (
	syn    = 0x02
	synAck = 0x12
)

// TestMSS: what two ends tell each other of how much they take, out and in.
func TestMSS(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s := load(t)
	s.set(t, policies["strict"])
	s.device, s.mtu = tunnelDevice(t, 1420), 1420
	for family, addresses := range families {
		most := map[string]int{"IPv4": 1380, "IPv6": 1360}[family]
		for name, tc := range map[string]struct {
			flags   byte
			options [][]byte
			want    []int // the MSS options afterwards
		}{
			"SYN":                     {syn, [][]byte{mss(1460), windowSize}, []int{most}},
			"its answer":              {synAck, [][]byte{mss(1460)}, []int{most}},
			"SYN with ECN":            {syn | 0xc0, [][]byte{mss(8960)}, []int{most}},
			"the largest":             {syn, [][]byte{mss(65535)}, []int{most}},
			"one byte too long":       {syn, [][]byte{mss(most + 1)}, []int{most}},
			"fits":                    {syn, [][]byte{mss(most)}, []int{most}},
			"small":                   {syn, [][]byte{mss(536)}, []int{536}},
			"zero":                    {syn, [][]byte{mss(0)}, []int{0}},
			"none":                    {syn, [][]byte{timestamps, windowSize}, nil},
			"no options":              {syn, nil, nil},
			"at an odd place":         {syn, [][]byte{nothing, mss(1460), timestamps}, []int{most}},
			"behind others":           {syn, [][]byte{timestamps, windowSize, nothing, mss(1460)}, []int{most}},
			"at the very end":         {syn, [][]byte{timestamps, timestamps, timestamps, windowSize, windowSize, mss(1460)}, []int{most}},
			"behind nothing much":     {syn, [][]byte{bytes.Repeat(nothing, 36), mss(1460)}, []int{most}},
			"two":                     {syn, [][]byte{mss(1460), nothing, mss(1461)}, []int{most, most}},
			"not at the start of TCP": {0x10, [][]byte{mss(1460)}, []int{1460}},
			"a reset":                 {0x04, [][]byte{mss(1460)}, []int{1460}},
		} {
			for _, program := range []string{bpf.SteerProgTunnelEgress, bpf.SteerProgTunnelIngress} {
				from, to := addresses[bpf.ClassLocalPod], addresses[bpf.ClassRemotePod]
				if program == bpf.SteerProgTunnelIngress {
					from, to = to, from
				}
				t.Run(fmt.Sprintf("%s/%s/%s", family, name, program), func(t *testing.T) {
					frame := packet(from, to, 6, segment(from, to, tc.flags, "odd", tc.options...))
					s.check(t, program, frame, policies["strict"], s.counts(t))
					_, out := s.run(t, program, frame)
					tcp, options := parseTCP(t, out)
					if diff := cmp.Diff(tc.want, options); diff != "" {
						t.Errorf("MSS (-want +got)\n%s", diff)
					}
					if got := segmentSum(from, to, tcp); got != 0xffff {
						t.Errorf("the checksum is wrong: %#04x", got)
					}
				})
			}
		}
	}
}

// parseTCP finds the segment in a frame, and its MSS options.
func parseTCP(t *testing.T, frame []byte) (whole []byte, options []int) {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	tcp, ok := p.TransportLayer().(*layers.TCP)
	if !ok {
		t.Fatalf("no TCP in % x: %v", frame, p.ErrorLayer())
	}
	for _, o := range tcp.Options {
		if o.OptionType == layers.TCPOptionKindMSS {
			options = append(options, int(o.OptionData[0])<<8|int(o.OptionData[1]))
		}
	}
	return p.NetworkLayer().LayerPayload(), options
}

// TestMSSOnOddPackets: the twin says what becomes of them; here is whether they are
// touched at all.
func TestMSSOnOddPackets(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s := load(t)
	s.set(t, policies["strict"])
	s.device, s.mtu = tunnelDevice(t, 1280), 1280
	from4, to4 := addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod]
	from6, to6 := addresses6[bpf.ClassLocalPod], addresses6[bpf.ClassRemotePod]
	plain4 := packet(from4, to4, 6, segment(from4, to4, syn, "", mss(1460)))
	with := func(offset int, value ...byte) []byte {
		changed := bytes.Clone(plain4)
		copy(changed[14+offset:], value)
		return changed
	}
	behind := func(next byte, headers ...byte) []byte {
		return packet(from6, to6, next, append(headers, segment(from6, to6, syn, "", mss(1460))...))
	}
	odd := func(options ...[]byte) []byte { return packet(from4, to4, 6, segment(from4, to4, syn, "", options...)) }
	options := packet(from4, to4, 6, append([]byte{7, 4, 4, 0}, segment(from4, to4, syn, "", mss(1460))...))
	options[14] = 0x46
	cutShort := packet(from4, to4, 6, segment(from4, to4, syn, "", mss(1460))[:23])
	for name, tc := range map[string]struct {
		frame   []byte
		touched bool
	}{
		"plain":                       {plain4, true},
		"IPv4 options":                {options, true},
		"first fragment":              {with(6, 0x20, 0), true},
		"later fragment":              {with(6, 0, 9), false},
		"hop-by-hop options":          {behind(0, 6, 0, 1, 4, 0, 0, 0, 0), true},
		"two extension headers":       {behind(60, 43, 0, 1, 4, 0, 0, 0, 0, 6, 1, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), true},
		"IPv6 first fragment":         {behind(44, 6, 0, 0, 1, 0, 0, 0, 9), true},
		"IPv6 later fragment":         {behind(44, 6, 0, 0, 9, 0, 0, 0, 9), false},
		"UDP":                         {with(9, 17), false},
		"length of 0":                 {odd([]byte{9, 0}, mss(1460)), false},
		"length of 1":                 {odd([]byte{9, 1}, mss(1460)), false},
		"length beyond the header":    {odd([]byte{9, 40}, mss(1460)), false},
		"behind the end":              {odd([]byte{0}, mss(1460)), false},
		"MSS of 3 bytes":              {odd([]byte{2, 3, 5}, nothing), false},
		"MSS of 6 bytes":              {odd([]byte{2, 6, 5, 0xb4, 0, 0}), false},
		"MSS over the end":            {odd(nothing, nothing, []byte{2, 4}), false},
		"a header of 16 bytes":        {with(20+12, 0x40), false},
		"the packet ends before":      {cutShort, false},
		"the header ends before them": {with(20+12, 0x50), false},
	} {
		t.Run(name, func(t *testing.T) {
			s.check(t, bpf.SteerProgTunnelEgress, tc.frame, policies["strict"], s.counts(t))
			_, out := s.run(t, bpf.SteerProgTunnelEgress, tc.frame)
			if touched := !bytes.Equal(tc.frame, out); touched != tc.touched {
				t.Errorf("% x becomes % x; touched is %v, want %v", tc.frame, out, touched, tc.touched)
			}
		})
	}
}

// TestMSSBelowIPv6: a tunnel with less than IPv6's least MTU carries 1280 bytes all
// the same, in fragments.
func TestMSSBelowIPv6(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s := load(t)
	s.set(t, policies["strict"])
	s.device, s.mtu = tunnelDevice(t, 1000), 1000
	for family, want := range map[string]int{"IPv4": 960, "IPv6": 1220} {
		from, to := families[family][bpf.ClassLocalPod], families[family][bpf.ClassRemotePod]
		_, out := s.run(t, bpf.SteerProgTunnelEgress, packet(from, to, 6, segment(from, to, syn, "", mss(1460))))
		if _, got := parseTCP(t, out); !cmp.Equal(got, []int{want}) {
			t.Errorf("%s: MSS %v, want %d", family, got, want)
		}
	}
}
