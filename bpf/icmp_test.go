package bpf_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// long is a frame that no tunnel of these tests takes, not to be fragmented, with
// something of a protocol behind its IP header.
func long(source, destination netip.Addr, protocol byte, start ...byte) []byte {
	payload := append(start, bytes.Repeat([]byte{0xa5}, 1500-len(start))...)
	frame := packet(source, destination, protocol, payload)
	if source.Is4() && destination.Is4() {
		frame[14+6] = 0x40
	}
	return frame
}

// TestTooLong: who is told that a packet is too long, and who is not.
func TestTooLong(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s := load(t)
	s.set(t, policies["strict"])
	s.device, s.mtu = tunnelDevice(t, 1420), 1420
	s.put(t, member{netip.MustParsePrefix("224.0.0.0/4"), bpf.ClassLocalPod, 0})
	s.put(t, member{netip.MustParsePrefix("0.0.0.0/32"), bpf.ClassLocalPod, 0})
	s.put(t, member{netip.MustParsePrefix("ff00::/8"), bpf.ClassLocalPod, 0})
	s.put(t, member{netip.MustParsePrefix("::/128"), bpf.ClassLocalPod, 0})
	from4, to4 := addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod]
	from6, to6 := addresses6[bpf.ClassLocalPod], addresses6[bpf.ClassRemotePod]
	from := func(source string, to netip.Addr) []byte { return long(netip.MustParseAddr(source), to, 17) }
	with := func(frame []byte, offset int, value ...byte) []byte {
		copy(frame[14+offset:], value)
		return frame
	}
	extension := func(next byte, length int) []byte {
		return append([]byte{next, byte(length/8 - 1)}, make([]byte, length-2)...)
	}
	extensions := func(n int) (all []byte) {
		for range n - 1 {
			all = append(all, extension(60, 8)...)
		}
		return append(all, extension(17, 8)...)
	}
	const (
		answered = bpf.ReasonTooLong
		silent   = bpf.ReasonTooLongUnanswered
	)
	for name, tc := range map[string]struct {
		frame []byte
		want  bpf.Reason
	}{
		"UDP":                       {long(from4, to4, 17), answered},
		"TCP":                       {long(from4, to4, 6), answered},
		"a protocol of no name":     {long(from4, to4, 253), answered},
		"from the node":             {long(addresses4[bpf.ClassLocalNode], to4, 17), answered},
		"to a node":                 {long(from4, addresses4[bpf.ClassRemoteNode], 17), answered},
		"IPv4 options":              {with(long(from4, to4, 17), 0, 0x4f), answered},
		"first fragment":            {with(long(from4, to4, 17), 6, 0x60), answered},
		"later fragment":            {with(long(from4, to4, 17), 7, 0xb9), silent},
		"may be fragmented":         {with(long(from4, to4, 17), 6, 0), bpf.ReasonToRemotePod},
		"echo request":              {long(from4, to4, 1, 8), answered},
		"echo reply":                {long(from4, to4, 1, 0), answered},
		"unreachable":               {long(from4, to4, 1, 3, 4), silent},
		"source quench":             {long(from4, to4, 1, 4), silent},
		"redirect":                  {long(from4, to4, 1, 5), silent},
		"time exceeded":             {long(from4, to4, 1, 11), silent},
		"parameter problem":         {long(from4, to4, 1, 12), silent},
		"from a group":              {from("224.0.0.1", to4), silent},
		"from everyone":             {from("255.255.255.255", to4), bpf.ReasonForeignSource},
		"from no one":               {from("0.0.0.0", to4), silent},
		"IPv6 UDP":                  {long(from6, to6, 17), answered},
		"IPv6 TCP":                  {long(from6, to6, 6), answered},
		"IPv6 from the node":        {long(addresses6[bpf.ClassLocalNode], to6, 17), answered},
		"IPv6 to a node":            {long(from6, addresses6[bpf.ClassRemoteNode], 17), answered},
		"destination options":       {long(from6, to6, 60, extension(17, 64)...), answered},
		"four extension headers":    {long(from6, to6, 60, extensions(4)...), answered},
		"five extension headers":    {long(from6, to6, 60, extensions(5)...), silent},
		"extension header too long": {long(from6, to6, 60, extension(17, 88)...), silent},
		"IPv6 first fragment":       {long(from6, to6, 44, 17, 0, 0, 1, 0, 0, 0, 9), answered},
		"IPv6 later fragment":       {long(from6, to6, 44, 17, 0, 0, 9, 0, 0, 0, 9), silent},
		"IPv6 without more":         {long(from6, to6, 59), silent},
		"IPv6 echo request":         {long(from6, to6, 58, 128), answered},
		"IPv6 unreachable":          {long(from6, to6, 58, 1), silent},
		"IPv6 packet too big":       {long(from6, to6, 58, 2), silent},
		"IPv6 redirect":             {long(from6, to6, 58, 137), silent},
		"IPv6 error behind options": {long(from6, to6, 60, append(extension(58, 8), 1)...), silent},
		"IPv6 from a group":         {from("ff02::1", to6), silent},
		"IPv6 from no one":          {from("::", to6), silent},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.counts(t)
			action, out := s.run(t, bpf.SteerProgTunnelEgress, tc.frame)
			at := bpf.Outcome{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictDrop, Reason: tc.want}
			want := before.clone()
			switch tc.want {
			case bpf.ReasonToRemotePod:
				at.Verdict = bpf.VerdictEncrypt
				want.addPeer(2, bpf.SteerPeerCount{TxPackets: 1, TxBytes: uint64(len(tc.frame))})
			case answered:
				checkAnswer(t, tc.frame[14:], out[14:], 1420)
			default:
				if !bytes.Equal(tc.frame, out) {
					t.Errorf("it has changed to % x", out)
				}
			}
			want.add(at, 1, uint64(len(tc.frame)))
			if diff := cmp.Diff(want, s.counts(t), ignoreLayout); diff != "" {
				t.Errorf("counters (-want +got)\n%s", diff)
			}
			if want := map[bpf.Reason]int{answered: redirect, bpf.ReasonToRemotePod: next}[tc.want]; want != 0 && action != want || want == 0 && action != shot {
				t.Errorf("action %d", action)
			}
		})
	}
}

// checkAnswer has a parser of its own read the answer to a packet.
func checkAnswer(t *testing.T, packet, answer []byte, mtu uint32) {
	t.Helper()
	quoted := packet[:quotedBytes]
	if packet[0]>>4 == 4 {
		p := gopacket.NewPacket(answer, layers.LayerTypeIPv4, gopacket.Default)
		ip, _ := p.NetworkLayer().(*layers.IPv4)
		icmp, _ := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		if ip == nil || icmp == nil {
			t.Fatalf("% x: %v", answer, p.ErrorLayer())
		}
		want := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded)
		if !ip.SrcIP.Equal(packet[16:20]) || !ip.DstIP.Equal(packet[12:16]) || int(ip.Length) != len(answer) || ip.TTL != 64 || sum(answer[:20]) != 0xffff {
			t.Errorf("IPv4 header %+v", ip)
		}
		if icmp.TypeCode != want || icmp.Id != 0 || uint32(icmp.Seq) != mtu || sum(answer[20:]) != 0xffff || !bytes.Equal(icmp.Payload, quoted) {
			t.Errorf("ICMP %+v", icmp)
		}
		return
	}
	p := gopacket.NewPacket(answer, layers.LayerTypeIPv6, gopacket.Default)
	ip, _ := p.NetworkLayer().(*layers.IPv6)
	icmp, _ := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if ip == nil || icmp == nil {
		t.Fatalf("% x: %v", answer, p.ErrorLayer())
	}
	want := layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0)
	if !ip.SrcIP.Equal(packet[24:40]) || !ip.DstIP.Equal(packet[8:24]) || int(ip.Length) != len(answer)-40 || ip.HopLimit != 64 {
		t.Errorf("IPv6 header %+v", ip)
	}
	pseudo := binary.BigEndian.AppendUint32(append(bytes.Clone(answer[8:40]), 0, 0, 0, 58), uint32(ip.Length))
	if icmp.TypeCode != want || binary.BigEndian.Uint32(icmp.Payload) != mtu || sum(append(pseudo, answer[40:]...)) != 0xffff || !bytes.Equal(icmp.Payload[4:], quoted) {
		t.Errorf("ICMPv6 %+v", icmp)
	}
}

// TestTooLongForIPv6: a tunnel with less than IPv6's least MTU has nobody told of less.
func TestTooLongForIPv6(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s := load(t)
	s.set(t, policies["strict"])
	s.device, s.mtu = tunnelDevice(t, 1279), 1279
	for family, want := range map[string]int{"IPv4": redirect, "IPv6": next} {
		frame := long(families[family][bpf.ClassLocalPod], families[family][bpf.ClassRemotePod], 17)
		if action, _ := s.run(t, bpf.SteerProgTunnelEgress, frame); action != want {
			t.Errorf("%s: action %d, want %d", family, action, want)
		}
	}
}

// TestAnswerComesBack: at the tunnel's ingress an answer is told from what was
// decrypted by its mark, which ends there. It is no peer's packet; and it is for this
// node, like any other.
func TestAnswerComesBack(t *testing.T) {
	s := load(t)
	s.set(t, policies["strict"])
	for family, addresses := range families {
		for name, tc := range map[string]struct {
			mark        uint32
			destination bpf.Class
			verdict     bpf.Verdict
			reason      bpf.Reason
			markAfter   uint32
			peer        uint64
		}{
			"answer to a pod":     {0x77677374, bpf.ClassLocalPod, bpf.VerdictPass, bpf.ReasonMtuAnswer, 0, 0},
			"answer to the node":  {0x77677374, bpf.ClassLocalNode, bpf.VerdictPass, bpf.ReasonMtuAnswer, 0, 0},
			"answer to elsewhere": {0x77677374, bpf.ClassRemotePod, bpf.VerdictDrop, bpf.ReasonMisrouted, 0x77677374, 0},
			"decrypted":           {0, bpf.ClassLocalPod, bpf.VerdictPass, bpf.ReasonToLocal, 0, 1},
			"another mark":        {0x4000, bpf.ClassLocalPod, bpf.VerdictPass, bpf.ReasonToLocal, 0x4000, 1},
		} {
			t.Run(family+"/"+name, func(t *testing.T) {
				frame := frame(t, addresses[bpf.ClassRemotePod], addresses[tc.destination])
				before := s.counts(t)
				var after skbContext
				if _, err := s.TunnelIngress.Run(&ebpf.RunOptions{Data: frame, Context: skbContext{Mark: tc.mark}, ContextOut: &after}); err != nil {
					t.Fatal(err)
				}
				want := before.clone()
				want.add(bpf.Outcome{Hook: bpf.HookTunnelIngress, Verdict: tc.verdict, Reason: tc.reason}, 1, uint64(len(frame)))
				want.addPeer(2, bpf.SteerPeerCount{RxPackets: tc.peer, RxBytes: tc.peer * uint64(len(frame))})
				if diff := cmp.Diff(want, s.counts(t), ignoreLayout); diff != "" {
					t.Errorf("counters (-want +got)\n%s", diff)
				}
				if after.Mark != tc.markAfter {
					t.Errorf("mark %#x, want %#x", after.Mark, tc.markAfter)
				}
			})
		}
	}
}
