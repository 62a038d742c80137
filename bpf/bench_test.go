package bpf_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/wgsteer/wgsteer/bpf"
)

// benchedPrograms are those for devices with an Ethernet header, and the tunnel
// device's. tcx and clsact run the same ones; the backstops are always by clsact.
var benchedPrograms = []string{
	bpf.SteerProgSteerL2, bpf.SteerProgGuardEgressL2, bpf.SteerProgBackstopEgressL2,
	bpf.SteerProgGuardIngressL2, bpf.SteerProgBackstopIngressL2,
	bpf.SteerProgTunnelEgress, bpf.SteerProgTunnelIngress, bpf.SteerProgBackstopTunnelIngress,
}

// BenchmarkProgram is what a program adds to a packet, for each outcome that it
// has: in the kernel, in a cluster of 1000 nodes, without the redirect itself. The
// kernel repeats the run, hence b.N, on one packet: what is too long for the tunnel
// is an answer after the first, and not measured. A packet that passes an uplink's
// egress meets steer, guard and backstop; one to be encrypted steer, then tunnel_egress.
func BenchmarkProgram(b *testing.B) {
	s := load(b)
	s.fill(b, 1000)
	p := policies["strict"]
	s.set(b, p)
	for _, program := range benchedPrograms {
		for _, family := range []string{"IPv4", "IPv6"} {
			for _, o := range outcomesOf(program, benchedFrames(b, family), p, s.mtu) {
				b.Run(fmt.Sprintf("program=%s/%s/family=%s", program, o.name, family), func(b *testing.B) {
					action, _, err := s.program(program).Benchmark(o.frame, b.N, b.ResetTimer)
					if err != nil {
						b.Fatal(err)
					}
					if int(int32(action)) != o.action {
						b.Fatalf("action %d, want %d", int32(action), o.action)
					}
				})
			}
		}
	}
}

// fill adds peers, each with pods and an address of its own.
func (s *steer) fill(b *testing.B, peers int) {
	for i := range peers {
		high, low, peer := byte(i>>8), byte(i), uint32(1000+i)
		pods4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 200 + high, low, 0}), 24)
		pods6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 0x10, high, low}), 48)
		node := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, high, low}), 32)
		s.put(b, member{pods4, bpf.ClassRemotePod, peer})
		s.put(b, member{pods6, bpf.ClassRemotePod, peer})
		s.put(b, member{node, bpf.ClassRemoteNode, peer})
	}
}

// benchedFrames are of every kind whose outcome differs, those of classes first.
func benchedFrames(b *testing.B, family string) (frames [][]byte) {
	addresses := families[family]
	for _, source := range classes {
		for _, destination := range classes {
			frames = append(frames, frame(b, addresses[source], addresses[destination]))
		}
	}
	here, there := addresses[bpf.ClassLocalNode], addresses[bpf.ClassRemoteNode]
	inner := frame(b, addresses[bpf.ClassLocalPod], addresses[bpf.ClassRemotePod])
	vxlan := encapsulations(0)["VXLAN"]
	shape := shapes(b, bpf.ClassLocalPod, bpf.ClassRemotePod)
	frames = append(frames, packet(here, there, vxlan.protocol, vxlan.carry(inner)))
	if family == "IPv6" {
		return append(frames, shape["IPv4 called IPv6"])
	}
	return append(frames, shape["IPv6 called IPv4"], shape["ARP"])
}

// benched is a frame that has an outcome, by name.
type benched struct {
	name   string
	frame  []byte
	action int
}

// outcomesOf are the first frames that a program lets go, or drops, for each reason.
func outcomesOf(program string, frames [][]byte, p policy, mtu int) (all []benched) {
	seen := map[string]bool{}
	for _, frame := range frames {
		want := twin(program, frame, p, cluster, mtu)
		verdict := want.outcome.Verdict.String()
		if want.silent { // whoever comes next in the chain decides, for that reason
			verdict = "next"
		}
		name := fmt.Sprintf("verdict=%s/reason=%s", verdict, want.outcome.Reason)
		if !seen[name] {
			seen[name] = true
			all = append(all, benched{name, frame, want.action})
		}
	}
	return all
}

// BenchmarkTunnelTCP is what the tunnel's own programs add to TCP, in which they
// look for a SYN: to a segment with data, and to a SYN whose MSS fits. One that is
// changed is so in the first run alone.
func BenchmarkTunnelTCP(b *testing.B) {
	s := load(b)
	s.set(b, policies["strict"])
	for _, program := range []string{bpf.SteerProgTunnelEgress, bpf.SteerProgTunnelIngress} {
		for _, kind := range []string{"data", "SYN"} {
			for _, family := range []string{"IPv4", "IPv6"} {
				b.Run(fmt.Sprintf("program=%s/segment=%s/family=%s", program, kind, family), func(b *testing.B) {
					from, to := families[family][bpf.ClassLocalPod], families[family][bpf.ClassRemotePod]
					if program == bpf.SteerProgTunnelIngress {
						from, to = to, from
					}
					tcp := segment(from, to, 0x10, "a payload", timestamps)
					if kind == "SYN" {
						tcp = segment(from, to, syn, "", mss(1200), timestamps, windowSize)
					}
					action, _, err := s.program(program).Benchmark(packet(from, to, 6, tcp), b.N, b.ResetTimer)
					if err != nil || int(int32(action)) != next {
						b.Fatalf("action %d, %v; want %d", int32(action), err, next)
					}
				})
			}
		}
	}
}
