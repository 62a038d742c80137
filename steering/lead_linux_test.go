package steering_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/wgsteer/wgsteer/steering"
)

// TestLead: a program that comes ahead of ours, and accepts every packet, keeps them from
// ours until these have gone back to the head. Where it comes again it stays, and Status
// tells.
func TestLead(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		if byClsact(o) {
			return // filters are not followed
		}
		foreigner, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreigner", Type: ebpf.SchedCLS, License: "MIT", Instructions: returns(0)})
		if err != nil {
			t.Fatal(err)
		}
		defer foreigner.Close()
		tun, index := openTUN(t, o.Name)
		o.VerifyEvery = time.Hour
		s := start(t, o)
		apply(t, s, steered(index))
		run(t, s)
		for _, device := range []string{"eth0", o.Name} {
			for _, side := range []ebpf.AttachType{ebpf.AttachTCXEgress, ebpf.AttachTCXIngress} {
				ahead := func() link.Link {
					l, err := link.AttachTCX(link.TCXOptions{Interface: byName(t, device).Attrs().Index, Program: foreigner, Attach: side, Anchor: link.Head()})
					if err != nil {
						t.Fatal(err)
					}
					return l
				}
				where := map[ebpf.AttachType]string{ebpf.AttachTCXEgress: "egress of ", ebpf.AttachTCXIngress: "ingress of "}[side] + device
				l := ahead()
				wantRepairs(t, s, []string{"guard on the " + where})
				if why := s.Status().Failing; why != "" {
					t.Errorf("failing: %s", why)
				}
				if device == "eth0" { // check looks at devices to steer
					wantFinding(t, o, "foreign-programs", "", "")
				}
				wantFinding(t, o, "layers", steering.OK, "every layer")
				route := addRoute(t, "10.244.2.0/24", "192.0.2.2")
				before := s.Status()
				send(t, n.pod, podAddr, peerPod, where)
				expect(t, tun, where)
				grew(t, s, before, "egress", "encrypt", "to_remote_pod")
				grew(t, s, before, "tunnel_egress", "encrypt", "to_remote_pod")
				removeRoute(t, route)
				l.Close()

				l = ahead()
				apply(t, s, steered(index))
				if why := s.Status().Failing; !strings.Contains(why, where+", ahead of ours again: foreigner") {
					t.Errorf("%s: failing: %s", where, why)
				}
				if where == "egress of eth0" {
					route := addRoute(t, "10.244.2.0/24", "192.0.2.2")
					if e := explain(t, o, podAddr, peerPod); len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "ahead of ours on the egress of eth0: foreigner") {
						t.Errorf("notes: %q", e.Notes)
					}
					removeRoute(t, route)
				}
				l.Close()
				apply(t, s, steered(index))
				if why := s.Status().Failing; why != "" {
					t.Errorf("failing: %s", why)
				}
			}
		}
	})
}
