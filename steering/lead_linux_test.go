package steering_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/steering"
)

// foreign loads a program of somebody else's, which says the same of every packet.
func foreign(t *testing.T, action int32) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreigner", Type: ebpf.SchedCLS, License: "MIT", Instructions: returns(action)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// putAhead puts p ahead of all others on one side of a device, "egress" or "ingress", by
// the mechanism that ours are attached by.
func putAhead(t *testing.T, o steering.Options, p *ebpf.Program, side, device string) (remove func()) {
	t.Helper()
	index := byName(t, device).Attrs().Index
	if byClsact(o) {
		return addForeignFilter(t, index, map[string]uint32{"egress": netlink.HANDLE_MIN_EGRESS, "ingress": netlink.HANDLE_MIN_INGRESS}[side], p)
	}
	attach := map[string]ebpf.AttachType{"egress": ebpf.AttachTCXEgress, "ingress": ebpf.AttachTCXIngress}[side]
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: attach, Anchor: link.Head()})
	if err != nil {
		t.Fatal(err)
	}
	return func() { l.Close() }
}

// TestLead: a program that comes ahead of ours, and accepts every packet, keeps them from
// ours until these have gone back to the head. Where it comes again it stays, and Status
// tells. The control is before anything runs that could put ours back.
func TestLead(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		tun, index := openTUN(t, o.Name)
		o.VerifyEvery = time.Hour
		s := start(t, o)
		apply(t, s, steered(index))
		plain := listen(t, n.world, peerPod)
		route := addRoute(t, "10.244.2.0/24", "192.0.2.2")
		remove := putAhead(t, o, foreign(t, 0), "egress", "eth0")
		send(t, n.pod, podAddr, peerPod, "control")
		arrives(t, plain, "control")
		remove()
		removeRoute(t, route)
		run(t, s)
		foreigner := foreign(t, 0)
		for _, device := range []string{"eth0", o.Name} {
			for _, side := range []string{"egress", "ingress"} {
				where := side + " of " + device
				remove := putAhead(t, o, foreigner, side, device)
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
				nothingCame(t, plain)
				grew(t, s, before, "egress", "encrypt", "to_remote_pod")
				grew(t, s, before, "tunnel_egress", "encrypt", "to_remote_pod")
				removeRoute(t, route)
				remove()

				remove = putAhead(t, o, foreigner, side, device)
				apply(t, s, steered(index))
				if why := s.Status().Failing; !strings.Contains(why, where+", ahead of ours again: foreigner") {
					t.Errorf("%s: failing: %s", where, why)
				}
				if device == "eth0" {
					wantFinding(t, o, "foreign-programs", steering.Warn, "on the "+where+", ahead of ours: foreigner")
				}
				if where == "egress of eth0" {
					route := addRoute(t, "10.244.2.0/24", "192.0.2.2")
					if e := explain(t, o, podAddr, peerPod); len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "ahead of ours on the egress of eth0: foreigner") {
						t.Errorf("notes: %q", e.Notes)
					}
					removeRoute(t, route)
				}
				remove()
				apply(t, s, steered(index))
				if why := s.Status().Failing; why != "" {
					t.Errorf("failing: %s", why)
				}
			}
		}
	})
}

// TestLeadWithoutAGap: while ours go back to the head, ahead of one after the other, no packet
// leaves in plaintext, and by clsact the guard drops none that steer is to redirect. Others
// leave packets to ours here: what came in plaintext would have come by a gap.
func TestLeadWithoutAGap(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		_, index := openTUN(t, o.Name)
		s := start(t, o)
		apply(t, s, steered(index))
		end := leakTest(t, n, o)
		for range 8 {
			before := s.Status()
			grew(t, s, before, "egress", "encrypt", "to_remote_pod")
			remove := putAhead(t, o, foreign(t, -1), "egress", "eth0")
			apply(t, s, steered(index))
			wantFinding(t, o, "foreign-programs", "", "")
			if now := s.Status(); now.Changes == before.Changes {
				t.Error("ours were not put ahead of another")
			}
			remove()
		}
		if dropped := counted(s.Status(), "egress", "drop", "not_steered"); byClsact(o) && dropped > 0 {
			t.Errorf("the guard dropped %d packets that steer redirects", dropped)
		}
		stop(t, s)
		end()
	})
}

// TestLeadOtherChain: a filter of another chain, which the kernel lists first, is not ahead.
func TestLeadOtherChain(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		if !byClsact(o) {
			return // there is one chain
		}
		_, index := openTUN(t, o.Name)
		eth0, chain := byName(t, "eth0").Attrs().Index, uint32(7)
		attachForeign(t, eth0, returns(-1), "clsact") // makes the qdisc, too
		if err := netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: eth0, Parent: netlink.HANDLE_MIN_INGRESS, Priority: 1, Protocol: unix.ETH_P_ALL, Chain: &chain},
			Fd:          foreign(t, 0).FD(), Name: "aside", DirectAction: true,
		}); err != nil {
			t.Fatal(err)
		}
		s := start(t, o)
		apply(t, s, steered(index))
		if got := filterNames(t, "eth0", netlink.HANDLE_MIN_INGRESS); len(got) != 2 || got[0] != "aside" {
			t.Fatalf("the other chain is to be listed first: %v", got)
		}
		wantFinding(t, o, "foreign-programs", "", "")
		if why := s.Status().Failing; why != "" {
			t.Errorf("failing: %s", why)
		}
		before := s.Status().Changes
		apply(t, s, steered(index))
		if now := s.Status().Changes; now != before {
			t.Errorf("%d changes for a filter that is not ahead", now-before)
		}
	})
}

// TestLeadHalfDone: a process died while it moved the filters. The next one has one of
// each again, steer ahead of the guard, with no packet in plaintext meanwhile.
func TestLeadHalfDone(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		if !byClsact(o) {
			return // links have pins: there are never two in a slot
		}
		_, index := openTUN(t, o.Name)
		eth0 := byName(t, "eth0")
		s := start(t, o)
		apply(t, s, steered(index))
		want := filterNames(t, "eth0", netlink.HANDLE_MIN_EGRESS)
		if len(want) != 2 || !strings.Contains(want[0], "/steer") {
			t.Fatalf("filters of the egress: %v", want)
		}
		stop(t, s)
		end := leakTest(t, n, o)
		for _, more := range [][]string{ // filters ahead of steer and guard, the last one first
			{"steer"}, {"steer", "steer"}, {"guard", "steer"}, {"foreigner", "steer"}, {"foreigner", "guard", "steer"}, {"guard"}, {"foreigner", "guard"},
		} {
			for _, name := range more {
				addCopy(t, eth0, name)
			}
			s := start(t, o)
			apply(t, s, steered(index))
			got := filterNames(t, "eth0", netlink.HANDLE_MIN_EGRESS)
			ours := slices.DeleteFunc(slices.Clone(got), func(name string) bool { return name == "foreigner" })
			if !slices.Equal(ours, want) || !slices.Equal(got[:2], want) {
				t.Errorf("after %v: filters %v, want first %v", more, got, want)
			}
			before := s.Status()
			grew(t, s, before, "egress", "encrypt", "to_remote_pod")
			stop(t, s)
		}
		end()
	})
}

// addCopy adds, at the head of the egress, one more filter with the program of ours whose
// name has the role, or with one of somebody else's.
func addCopy(t *testing.T, device netlink.Link, role string) {
	t.Helper()
	if role == "foreigner" {
		addForeignFilter(t, device.Attrs().Index, netlink.HANDLE_MIN_EGRESS, foreign(t, -1))
		return
	}
	filters, err := netlink.FilterList(device, netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range filters {
		b, ok := f.(*netlink.BpfFilter)
		if !ok || !strings.Contains(b.Name, "/"+role+"_") {
			continue
		}
		p, err := ebpf.NewProgramFromID(ebpf.ProgramID(b.Id))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		twin := *b
		twin.Handle, twin.Fd = 0, p.FD()
		if err := netlink.FilterAdd(&twin); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no filter of %s", role)
}
