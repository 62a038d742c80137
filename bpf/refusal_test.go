package bpf_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/bpf"
)

// What the policy decides over is what WouldDrop says, and no more: the same
// packets under both policies, through every guard of uplinks.
func TestWouldDrop(t *testing.T) {
	s := load(t)
	frames := shapes(t, bpf.ClassLocalPod, bpf.ClassRemotePod)
	for _, addresses := range families {
		for _, source := range classes {
			for _, destination := range classes {
				name := source.String() + " to " + destination.String() + " as " + addresses[source].String()
				frames[name] = frame(t, addresses[source], addresses[destination])
				around := packet(addresses4[bpf.ClassLocalNode], addresses4[bpf.ClassRemoteNode], 17,
					encapsulations(0)["VXLAN"].carry(frames[name]))
				frames[name+", in VXLAN"] = around
			}
		}
	}
	outcome := func(program string, frame []byte, policy string) bpf.Outcome {
		s.set(t, policies[policy])
		before := s.counts(t)
		s.run(t, program, frame)
		for o, c := range s.counts(t).Verdicts {
			if c.Packets > before.Verdicts[o].Packets {
				return o
			}
		}
		t.Fatalf("%s: nothing was counted", program)
		return bpf.Outcome{}
	}
	passed := 0
	for name, frame := range frames {
		for _, program := range guardPrograms {
			permissive, strict := outcome(program, frame, "permissive"), outcome(program, frame, "strict")
			if want := permissive != strict; permissive.WouldDrop() != want || strict.WouldDrop() {
				t.Errorf("%s, %s: permissive %v %v, strict %v %v; WouldDrop says %v", program, name,
					permissive.Verdict, permissive.Reason, strict.Verdict, strict.Reason, permissive.WouldDrop())
			}
			if permissive.WouldDrop() {
				passed++
			}
		}
	}
	if passed == 0 {
		t.Error("the policy made no difference, so nothing was tested")
	}
}
