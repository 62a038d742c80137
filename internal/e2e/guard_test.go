package e2e_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestPlaintextFromTheUnderlay: node-a sends as if there were no wgsteer, by the
// CNI's routes; node-b lets none of it in.
func TestPlaintextFromTheUnderlay(t *testing.T) {
	c := up(t, netlab.Options{})
	c.kill("node-a")
	if _, err := c.wgsteer("node-a", "teardown"); err != nil {
		t.Fatal(err)
	}
	refused := func(s dataplane.Status) uint64 { return counted(s, "ingress", "drop", "plaintext_in") }
	for _, family := range c.Families {
		before := refused(c.status("node-b"))
		w := c.watch(func() {
			c.mustNotFlow(netlab.Flow{From: "node-a/pod-1", To: "node-b/pod-1", Protocol: netlab.UDP, Family: family},
				netlab.Flow{From: "node-a", To: "node-b/pod-1", Protocol: netlab.ICMP, Family: family})
		})
		if w.PlaintextPod.Frames == 0 {
			t.Errorf("IPv%d: nothing was sent in plaintext, so nothing was tested: %+v", family, w)
		}
		if after := refused(c.status("node-b")); after == before {
			t.Errorf("IPv%d: node-b has not counted what it dropped", family)
		}
	}
}

// counted is how many packets came to an outcome.
func counted(s dataplane.Status, hook, verdict, reason string) (n uint64) {
	for _, v := range s.Steering.Verdicts {
		if v.Hook == hook && v.Verdict == verdict && v.Reason == reason {
			n += v.Packets
		}
	}
	return n
}
