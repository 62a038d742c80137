package steering

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestDecideAsThePrograms sends each pair of addresses through each chain of
// programs, by BPF_PROG_TEST_RUN under every policy: Explain's look-up and decide come to the
// outcome that is counted.
func TestDecideAsThePrograms(t *testing.T) {
	privtest.Root(t)
	var o objects
	if err := bpf.LoadSteerObjects(&o.SteerObjects, nil); err != nil {
		t.Fatalf("load: %+v", err)
	}
	t.Cleanup(func() { o.Close() })
	s := scene{contents: explained.table(nil)}
	for key, value := range s.prefixes {
		if err := o.Prefixes.Put(key, value); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	chains := map[bpf.Hook][]*ebpf.Program{
		bpf.HookEgress: {o.SteerL2, o.GuardEgressL2, o.BackstopEgressL2}, bpf.HookIngress: {o.GuardIngressL2, o.BackstopIngressL2},
		bpf.HookTunnelEgress: {o.TunnelEgress}, bpf.HookTunnelIngress: {o.TunnelIngress, o.BackstopTunnelIngress},
	}
	seen := map[bpf.Outcome]bool{}
	for _, strict := range []bool{true, false} {
		for _, tunnel := range []int{0, 4711} {
			settings := bpf.SteerSettings{TunnelIfindex: uint32(tunnel)}
			if strict {
				settings.Strict = 1
			}
			if err := o.Settings.Put(uint32(0), settings); err != nil {
				t.Fatal(err)
			}
			for hook, chain := range chains {
				for range 400 {
					from, to := pair(random)
					verdict, reason := decide(hook, s.end(from).class, s.end(to).class, strict, tunnel != 0)
					want := bpf.Outcome{Hook: hook, Verdict: verdict, Reason: reason}
					seen[want] = true
					before := packetsOf(t, &o, want)
					runChain(t, chain, ethernet(t, from, to))
					if got := packetsOf(t, &o, want) - before; got != 1 {
						t.Fatalf("seed %d, strict %v, tunnel %d: %v > %v: %+v is counted %d times, want once", seed, strict, tunnel, from, to, want, got)
					}
				}
			}
		}
	}
	if len(seen) < 23 {
		t.Errorf("only %d outcomes came about: %v", len(seen), seen)
	}
}

// runChain gives a frame to one program after the other until one has a verdict.
func runChain(t *testing.T, chain []*ebpf.Program, frame []byte) {
	t.Helper()
	for _, program := range chain {
		action, err := program.Run(&ebpf.RunOptions{Data: frame})
		if err != nil {
			t.Fatal(err)
		}
		if int32(action) != -1 { // TCX_NEXT
			return
		}
	}
}

// pair is two addresses of one family, in all classes and at the borders of the
// prefixes.
func pair(r *rand.Rand) (from, to netip.Addr) {
	four := []string{"10.244.1.0", "10.244.1.255", "10.244.2.0", "10.244.2.255", "10.244.3.0", "10.244.0.255", "10.243.255.255", "10.245.0.0",
		"192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.7"}
	six := []string{"fd00:244:1::", "fd00:244:1:0:ffff::", "fd00:244:2::7", "fd00:244:2:1::", "fd00:243::", "2001:db8::1", "2001:db8::2", "2001:db8::3"}
	all := [][]string{four, six}[r.IntN(2)]
	return netip.MustParseAddr(all[r.IntN(len(all))]), netip.MustParseAddr(all[r.IntN(len(all))])
}

func packetsOf(t *testing.T, o *objects, outcome bpf.Outcome) (n uint64) {
	t.Helper()
	var perCPU []bpf.SteerCount
	if err := o.Verdicts.Lookup(outcome.Index(), &perCPU); err != nil {
		t.Fatal(err)
	}
	for _, c := range perCPU {
		n += c.Packets
	}
	return n
}

// ethernet is a frame with an IP packet.
func ethernet(t *testing.T, from, to netip.Addr) []byte {
	t.Helper()
	ether := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
	var ip gopacket.SerializableLayer = &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	if from.Is6() {
		ether.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	}
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, ether, ip, gopacket.Payload(make([]byte, 20))); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}
