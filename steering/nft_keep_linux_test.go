package steering_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/steering"
)

// TestNftPutBack: what others do to the table is undone at once, and what others
// have beside it is left alone.
func TestNftPutBack(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	_, o, s := nftNode(t, true)
	run(t, s)
	nftTool(t, "add table inet wgsteer-wgt1")
	want := nftTool(t, "-s", "list table "+nftables)
	for _, change := range []string{"delete table " + nftables, "flush table " + nftables, "flush chain " + nftables + " unsteered_ingress",
		"add element " + nftables + " steered { 4242 }", "add chain " + nftables + " unsteered_egress { policy drop; }", "flush ruleset"} {
		nftTool(t, change)
		eventually(t, func() string {
			out, _ := exec.Command("nft", "-s", "list table "+nftables).CombinedOutput()
			if string(out) == want {
				return ""
			}
			return fmt.Sprintf("after nft %s there is\n%s\nwant\n%s", change, out, want)
		})
	}
	if r := s.Status().Repairs; len(r) != 1 || r[0].Layer != "nftables" || r[0].What != "table "+nftables || r[0].Times < 6 {
		t.Errorf("repairs: %+v, want 6 or more of the table", r)
	}
	nftTool(t, "add table inet wgsteer-wgt1") // the flush took it
	stop(t, s)
	removed, err := steering.Teardown(o)
	if err != nil || !strings.Contains(strings.Join(removed, "\n"), "nftables table inet wgsteer-wgt0") {
		t.Errorf("teardown: %v, %v", removed, err)
	}
	if left := nftTool(t, "list tables"); left != "table inet wgsteer-wgt1\n" {
		t.Errorf("teardown left %q, want the table of another tunnel", left)
	}
}

// TestNftSteered: a device is in the set while it has its programs.
func TestNftSteered(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		steeredSet := func(want ...string) {
			t.Helper()
			text := nftTool(t, "list set "+nftables+" steered")
			for _, name := range want {
				wantText(t, text, `"`+name+`"`)
			}
			if got := strings.Count(text, `"`) - 2; got != 2*len(want) { // two are of its comment
				t.Errorf("want %v in\n%s", want, text)
			}
		}
		apply(t, s, guard())
		steeredSet("lo", "eth0")
		tun, index := openTUN(t, o.Name)
		state := steered(index)
		apply(t, s, state)
		steeredSet("lo", "eth0", "wgt0")
		veth(t, "eth1", n.world)
		state.Devices = []string{"eth0", "eth1"}
		apply(t, s, state)
		steeredSet("lo", "eth0", "eth1", "wgt0")
		state.Devices = []string{"eth0"}
		apply(t, s, state)
		steeredSet("lo", "eth0", "wgt0")
		tun.Close()
		eventually(t, func() string {
			if err := s.Apply(t.Context(), state); err == nil {
				return "the tunnel device is still there"
			}
			return ""
		})
		steeredSet("lo", "eth0")
		before := nftTool(t, "list table "+nftables)
		apply(t, s, guard()) // knows no peers, and keeps those there are
		if after := nftTool(t, "list table "+nftables); after != before {
			t.Errorf("before:\n%s\nwithout peers:\n%s", before, after)
		}
		wantText(t, before, "192.0.2.2")
	})
}
