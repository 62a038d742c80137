package bpf_test

import (
	"net/netip"
	"testing"

	"github.com/wgsteer/wgsteer/bpf"
)

// BenchmarkEgress is what steering adds to each packet that leaves by an
// uplink, in a cluster of 1000 nodes: in the kernel, without the redirect itself.
func BenchmarkEgress(b *testing.B) {
	s := load(b)
	for i := range 1000 {
		high, low, peer := byte(i>>8), byte(i), uint32(1000+i)
		pods4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 200 + high, low, 0}), 24)
		pods6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 0x10, high, low}), 48)
		node := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, high, low}), 32)
		s.put(b, member{pods4, bpf.ClassRemotePod, peer})
		s.put(b, member{pods6, bpf.ClassRemotePod, peer})
		s.put(b, member{node, bpf.ClassRemoteNode, peer})
	}
	s.set(b, policies["strict"])
	measure := func(name, program string, frame []byte, want int) {
		b.Run(name, func(b *testing.B) {
			action, perRun, err := s.program(program).Benchmark(frame, b.N, b.ResetTimer)
			if err != nil {
				b.Fatal(err)
			}
			if int(int32(action)) != want {
				b.Fatalf("action %d, want %d", int32(action), want)
			}
			b.ReportMetric(float64(perRun.Nanoseconds()), "ns/packet")
		})
	}
	measure("no lookup", bpf.SteerProgSteerL2, shapes(b, bpf.ClassLocalPod, bpf.ClassRemotePod)["ARP"], next) // the floor
	for _, bench := range []struct {
		name                string
		program             string
		source, destination bpf.Class
		action              int
	}{
		// A packet that passes meets all three; one to be encrypted the first alone.
		{"pass steer", bpf.SteerProgSteerL2, bpf.ClassLocalNode, bpf.ClassNone, next},
		{"pass guard", bpf.SteerProgGuardEgressL2, bpf.ClassLocalNode, bpf.ClassNone, next},
		{"pass backstop", bpf.SteerProgBackstopEgressL2, bpf.ClassLocalNode, bpf.ClassNone, next},
		{"to a node steer", bpf.SteerProgSteerL2, bpf.ClassLocalNode, bpf.ClassRemoteNode, next},
		{"to a node guard", bpf.SteerProgGuardEgressL2, bpf.ClassLocalNode, bpf.ClassRemoteNode, next},
		{"ingress", bpf.SteerProgGuardIngressL2, bpf.ClassRemoteNode, bpf.ClassLocalNode, next},
		{"encrypt", bpf.SteerProgSteerL2, bpf.ClassLocalPod, bpf.ClassRemotePod, redirect},
		{"tunnel", bpf.SteerProgTunnelEgress, bpf.ClassLocalPod, bpf.ClassRemotePod, next},
	} {
		for _, family := range []string{"IPv4", "IPv6"} {
			frame := frame(b, families[family][bench.source], families[family][bench.destination])
			measure(bench.name+"/"+family, bench.program, frame, bench.action)
		}
	}
	for family, addresses := range families { // each is looked at for a SYN
		from, to := addresses[bpf.ClassLocalPod], addresses[bpf.ClassRemotePod]
		tcp := segment(from, to, 0x10, "a payload", timestamps)
		measure("tunnel TCP/"+family, bpf.SteerProgTunnelEgress, packet(from, to, 6, tcp), next)
	}
}
