package bpf_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/wgsteer/wgsteer/bpf"
)

// shapes are frames whose form decides, not only their addresses; all go from
// one class to another where they can be read. Those cut short have a tag:
// Linux 6.18 refuses to test-run others (bpf_prog_test_run_skb); TestOnDevices
// has them.
func shapes(t testing.TB, from, to bpf.Class) map[string][]byte {
	t.Helper()
	ipv4 := frame(t, addresses4[from], addresses4[to])
	ipv6 := frame(t, addresses6[from], addresses6[to])
	tagged := func(tags ...layers.EthernetType) []byte {
		return frame(t, addresses4[from], addresses4[to], tags...)
	}
	taggedIPv6 := frame(t, addresses6[from], addresses6[to], cTag)
	with := func(frame []byte, offset int, value ...byte) []byte {
		changed := bytes.Clone(frame)
		copy(changed[offset:], value)
		return changed
	}
	mappedSource := addresses4[from].As16()
	mappedDestination := addresses4[to].As16()
	return map[string][]byte{
		"IPv4":                   ipv4,
		"IPv6":                   ipv6,
		"ARP":                    with(ipv4, 12, 0x08, 0x06),
		"802.3 length":           with(ipv4, 12, 0x00, 0x40),
		"MPLS":                   with(ipv4, 12, 0x88, 0x47),
		"IPv4 header alone":      ipv4[:14+20],
		"IPv6 header alone":      ipv6[:14+40],
		"IPv6 called IPv4":       with(ipv6, 12, 0x08, 0x00),
		"IPv4 called IPv6":       with(ipv4, 12, 0x86, 0xdd),
		"IPv4 version 0":         with(ipv4, 14, 0x05),
		"IPv4 header length 4":   with(ipv4, 14, 0x44),
		"IPv4 header length 15":  with(ipv4, 14, 0x4f),
		"IPv4 later fragment":    with(ipv4, 14+6, 0x00, 0xb9),
		"IPv4 options":           with(ipv4, 14, 0x4a), // the datagram's first bytes
		"IPv6 hop-by-hop":        with(ipv6, 14+6, 0),
		"IPv6 later fragment":    with(with(ipv6, 14+6, 44), 14+40, 17, 0, 0x05, 0xa8),
		"IPv6 routing header":    with(ipv6, 14+6, 43),
		"mapped addresses":       with(with(ipv6, 14+8, mappedSource[:]...), 14+24, mappedDestination[:]...),
		"one tag":                tagged(cTag),
		"a service tag":          tagged(sTag),
		"two tags":               tagged(sTag, cTag),
		"two customer tags":      tagged(cTag, cTag),
		"three tags":             tagged(sTag, cTag, cTag),
		"one tag cut short":      tagged(cTag)[:14+3],
		"two tags cut short":     tagged(sTag, cTag)[:14+7],
		"nothing behind one tag": tagged(cTag)[:14+4],
		"IPv4 one byte short":    tagged(cTag)[:14+4+19],
		"IPv6 one byte short":    taggedIPv6[:14+4+39],
		"tagged ARP":             with(tagged(cTag), 16, 0x08, 0x06),
	}
}

func TestShapes(t *testing.T) {
	s := load(t)
	for name, p := range policies {
		s.set(t, p)
		for way, frames := range map[string]map[string][]byte{
			"out": shapes(t, bpf.ClassLocalPod, bpf.ClassRemotePod),
			"in":  shapes(t, bpf.ClassRemotePod, bpf.ClassLocalPod),
		} {
			for shape, frame := range frames {
				for _, program := range programs {
					t.Run(name+"/"+program+"/"+way+"/"+shape, func(t *testing.T) {
						s.check(t, program, frame, p, s.counts(t))
					})
				}
			}
		}
	}
}

// What crosses an uplink unread must not be a pod's, and neighbours must be
// found: ARP passes under every policy, what claims to be IP does not.
func TestUnreadFramesInStrictMode(t *testing.T) {
	s := load(t)
	s.set(t, policies["strict"])
	frames := shapes(t, bpf.ClassLocalPod, bpf.ClassRemotePod)
	for shape, want := range map[string]int{
		"ARP": next, "tagged ARP": next, "802.3 length": next,
		"IPv4 one byte short": shot, "IPv6 one byte short": shot, "IPv6 called IPv4": shot,
		"three tags": shot, "one tag cut short": shot,
	} {
		for _, program := range []string{bpf.SteerProgGuardEgressL2, bpf.SteerProgGuardIngressL2} {
			if got, _ := s.run(t, program, frames[shape]); got != want {
				t.Errorf("%s: %s returns %d, want %d", shape, program, got, want)
			}
		}
	}
}

func TestTagsComeOffForTheTunnel(t *testing.T) {
	s := load(t)
	s.set(t, policies["strict"])
	frames := shapes(t, bpf.ClassLocalPod, bpf.ClassRemotePod)
	for _, shape := range []string{"one tag", "a service tag", "two tags", "two customer tags"} {
		action, out, err := s.SteerL2.Test(frames[shape])
		if err != nil || action != redirect {
			t.Fatalf("%s: action %d, %v; want a redirect", shape, action, err)
		}
		if diff := cmp.Diff(frames["IPv4"], out); diff != "" {
			t.Errorf("%s: what goes into the tunnel (-want +got)\n%s", shape, diff)
		}
	}
}

// A packet that is not encrypted stays as it is, its tags included.
func TestTagsStayOtherwise(t *testing.T) {
	s := load(t)
	s.set(t, policies["strict"])
	tagged := frame(t, addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassNone], sTag, cTag)
	action, out, err := s.SteerL2.Test(tagged)
	if err != nil || int32(action) != next {
		t.Fatalf("action %d, %v; want %d", int32(action), err, next)
	}
	if diff := cmp.Diff(tagged, out); diff != "" {
		t.Errorf("what goes on (-want +got)\n%s", diff)
	}
}

func TestSegmentsAreCountedAsPackets(t *testing.T) {
	s := load(t)
	p := policies["strict"]
	s.set(t, p)
	out := frame(t, addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod])
	in := frame(t, addresses4[bpf.ClassRemotePod], addresses4[bpf.ClassLocalPod])
	for program, frame := range map[string][]byte{
		bpf.SteerProgSteerL2: out, bpf.SteerProgGuardEgressL3: out,
		bpf.SteerProgTunnelEgress: out, bpf.SteerProgTunnelIngress: in,
	} {
		before := s.counts(t)
		context := skbContext{GSOSegs: 45, GSOSize: 1400}
		if binary.Size(context) != 192 {
			t.Fatalf("struct __sk_buff has 192 bytes, not %d", binary.Size(context))
		}
		if _, err := s.program(program).Run(&ebpf.RunOptions{Data: frame, Context: context}); err != nil {
			t.Fatal(err)
		}
		want := expect(before, twin(program, frame, p, cluster, s.mtu), 45, frame)
		if diff := cmp.Diff(want, s.counts(t), ignoreLayout); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", program, diff)
		}
	}
}

// TestUncountedSegments: what was written to a TUN says how long its segments
// are, and not how many.
func TestUncountedSegments(t *testing.T) {
	s := load(t)
	s.set(t, policies["strict"])
	for name, tc := range map[string]struct {
		transport gopacket.SerializableLayer
		protocol  layers.IPProtocol
		six       bool
		payload   int
		segment   uint32
		want      uint64
	}{
		"TCP":                    {&layers.TCP{}, layers.IPProtocolTCP, false, 2801, 1400, 3},
		"TCP, to the byte":       {&layers.TCP{}, layers.IPProtocolTCP, false, 2800, 1400, 2},
		"TCP with options, IPv6": {&layers.TCP{Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}}}, layers.IPProtocolTCP, true, 2800, 1400, 2},
		"UDP, IPv6":              {&layers.UDP{}, layers.IPProtocolUDP, true, 3000, 1000, 3},
	} {
		t.Run(name, func(t *testing.T) {
			network, ethernet := tunnelled(tc.protocol, tc.six)
			buffer := gopacket.NewSerializeBuffer()
			if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true},
				ethernet, network, tc.transport, gopacket.Payload(make([]byte, tc.payload))); err != nil {
				t.Fatal(err)
			}
			at := bpf.Outcome{Hook: bpf.HookTunnelIngress, Verdict: bpf.VerdictPass, Reason: bpf.ReasonToLocal}
			before := s.counts(t).Verdicts[at].Packets
			if _, err := s.TunnelIngress.Run(&ebpf.RunOptions{Data: buffer.Bytes(), Context: skbContext{GSOSize: tc.segment}}); err != nil {
				t.Fatal(err)
			}
			if got := s.counts(t).Verdicts[at].Packets - before; got != tc.want {
				t.Errorf("%d bytes in segments of %d: counted %d, want %d", tc.payload, tc.segment, got, tc.want)
			}
		})
	}
}

// tunnelled are headers from a remote pod to a local one. The Ethernet header
// is what BPF_PROG_TEST_RUN wants; it takes it off for a moment of its own.
func tunnelled(protocol layers.IPProtocol, six bool) (network gopacket.SerializableLayer, ethernet *layers.Ethernet) {
	ethernet = &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
	if !six {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol,
			SrcIP: addresses4[bpf.ClassRemotePod].AsSlice(), DstIP: addresses4[bpf.ClassLocalPod].AsSlice()}, ethernet
	}
	ethernet.EthernetType = layers.EthernetTypeIPv6
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol,
		SrcIP: addresses6[bpf.ClassRemotePod].AsSlice(), DstIP: addresses6[bpf.ClassLocalPod].AsSlice()}, ethernet
}

// A prefix may name a peer whose entry is not made yet, or gone: the packet's
// way is the same, and nobody else's counters move.
func TestPeerWithoutCounters(t *testing.T) {
	s := load(t)
	s.set(t, policies["strict"])
	if err := s.Prefixes.Put(bpf.Key(cluster[2].prefix), bpf.SteerPrefix{Class: uint32(bpf.ClassRemotePod), Peer: 99}); err != nil {
		t.Fatal(err)
	}
	frame := frame(t, addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod])
	if action, _ := s.run(t, bpf.SteerProgTunnelEgress, frame); action != next {
		t.Errorf("tunnel_egress returns %d, want %d", action, next)
	}
	want := tally{Verdicts: map[bpf.Outcome]bpf.SteerCount{
		{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictEncrypt, Reason: bpf.ReasonToRemotePod}: {Packets: 1, Bytes: uint64(len(frame))},
	}, Peers: map[uint32]bpf.SteerPeerCount{}}
	if diff := cmp.Diff(want, s.counts(t), ignoreLayout); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	var perCPU []bpf.SteerPeerCount
	if err := s.Peers.Lookup(uint32(99), &perCPU); err == nil {
		t.Error("the program has made an entry in peers: that is user space's")
	}
}
