package bpf_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wgsteer/wgsteer/bpf"
)

var classes = []bpf.Class{
	bpf.ClassNone, bpf.ClassLocalPod, bpf.ClassLocalNode,
	bpf.ClassRemotePod, bpf.ClassRemoteNode, bpf.ClassCluster, bpf.ClassUnknownNode,
}

// ignoreLayout leaves the marker of C layout out of comparisons.
var ignoreLayout = cmp.Options{
	cmpopts.IgnoreFields(bpf.SteerCount{}, "_"),
	cmpopts.IgnoreFields(bpf.SteerPeerCount{}, "_"),
}

// expect adds to before what the twin's result counts for a frame.
func expect(before tally, r result, packets int, frame []byte) tally {
	want := before.clone()
	n, bytes := uint64(packets), uint64(len(frame))
	if !r.silent {
		want.add(r.outcome, n, bytes)
	}
	if r.tx != 0 {
		want.addPeer(r.tx, bpf.SteerPeerCount{TxPackets: n, TxBytes: bytes})
	}
	if r.rx != 0 {
		want.addPeer(r.rx, bpf.SteerPeerCount{RxPackets: n, RxBytes: bytes})
	}
	return want
}

// Every pair of classes, in both families, under every policy, through every
// program: the action, one outcome counted once, and the right peer.
func TestEveryPairOfClasses(t *testing.T) {
	s := load(t)
	for name, p := range policies {
		s.set(t, p)
		for family, addresses := range families {
			for _, program := range programs {
				for _, source := range classes {
					for _, destination := range classes {
						t.Run(fmt.Sprintf("%s/%s/%s/%s to %s", name, family, program, source, destination), func(t *testing.T) {
							s.check(t, program, frame(t, addresses[source], addresses[destination]), p, s.counts(t))
						})
					}
				}
			}
		}
	}
}

// check compares what a program does with a frame to the twin, counters
// included, and returns the counters.
func (s *steer) check(t testing.TB, program string, frame []byte, p policy, before tally) tally {
	t.Helper()
	want := twin(program, frame, p, cluster, s.mtu)
	action, out := s.run(t, program, frame)
	if action != want.action {
		t.Errorf("%s returns %d for % x, want %d (%+v)", program, action, frame, want.action, want.outcome)
	}
	if diff := cmp.Diff(want.out, out); diff != "" {
		t.Errorf("%s makes of % x: (-want +got)\n%s", program, frame, diff)
	}
	after := s.counts(t)
	if diff := cmp.Diff(expect(before, want, 1, frame), after, ignoreLayout); diff != "" {
		t.Errorf("%s counts for % x: (-want +got)\n%s", program, frame, diff)
	}
	return after
}
