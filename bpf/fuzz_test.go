package bpf_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/bpf"
)

// FuzzEgress gives arbitrary bytes to every program: none crashes, and each returns
// and counts what the twin does.
func FuzzEgress(f *testing.F) {
	for _, frame := range shapes(f, bpf.ClassLocalPod, bpf.ClassRemotePod) {
		f.Add(frame, true, true)
		f.Add(frame, false, true)
		f.Add(frame, true, false)
	}
	for _, e := range encapsulations(0x0800) {
		inner := frame(f, addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod])
		f.Add(packet(addresses4[bpf.ClassLocalNode], addresses4[bpf.ClassRemoteNode], e.protocol, e.carry(inner)), true, true)
		f.Add(packet(addresses6[bpf.ClassLocalNode], addresses6[bpf.ClassRemoteNode], e.protocol, e.carry(inner)), true, true)
	}
	s := load(f)
	f.Fuzz(func(t *testing.T, frame []byte, strict, tunnel bool) {
		if len(frame) < 14 || len(frame) > 1514 || refused(frame) {
			t.Skip("not a frame that can be test-run")
		}
		p := policy{strict, tunnel}
		s.set(t, p)
		counts := s.counts(t)
		for _, program := range programs {
			counts = s.check(t, program, frame, p, counts)
		}
	})
}
