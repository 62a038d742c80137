package steering_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/steering"
)

// TestNftChecked: check and explain name the table.
func TestNftChecked(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	_, o, s := nftNode(t, true)
	check := func() steering.Finding {
		for _, f := range steering.Check(o) {
			if f.Name == "nftables" {
				return f
			}
		}
		t.Fatal("no finding called nftables")
		return steering.Finding{}
	}
	finding := func(level steering.Level, detail string) {
		t.Helper()
		f := check()
		if f.Level != level || !strings.Contains(f.Detail, detail) {
			t.Errorf("%+v, want %s: %s", f, level, detail)
		}
	}
	finding(steering.OK, "table inet wgsteer-wgt0 guards the devices that are not steered")
	stop(t, s)
	finding(steering.OK, "guards")
	e := explain(t, o, podAddr, peerPod) // by our route, into the tunnel
	if there(e, "nftables") {
		t.Errorf("to a peer's pod by the tunnel device: %+v", e)
	}
	plugIn(t)
	if e = explain(t, o, podAddr, peerPod); text(e) != "[] drop not_steered late0 false" || e.Plaintext || !there(e, "nftables") || there(e, "guard") {
		t.Errorf("to a peer's pod by a device without programs: %+v", e)
	}
	finding(steering.OK, "guards") // that one as well
	nftTool(t, "add element "+nftables+" steered { 4242 }; flush chain "+nftables+" unsteered_ingress")
	finding(steering.Fail, "other elements in set steered, other rules in chain unsteered_ingress")
	nftTool(t, "delete chain "+nftables+" unsteered_ingress")
	finding(steering.Fail, "chain unsteered_ingress")
	nftTool(t, "delete table "+nftables)
	finding(steering.Fail, "it is missing")
	if e = explain(t, o, podAddr, peerPod); text(e) != "[] pass unguarded late0 false" || !e.Plaintext || there(e, "nftables") {
		t.Errorf("without the table: %+v", e)
	}
	if _, err := steering.Teardown(o); err != nil {
		t.Fatal(err)
	}
	finding(steering.OK, "the kernel has nf_tables")
	nftTool(t, "add table "+nftables)
	finding(steering.Warn, "left over")
}

// TestNftCheckedAfterAKill: the number of the tunnel device that went with its process is
// left in the table. That is told, and is nobody else's change.
func TestNftCheckedAfterAKill(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		tun, index := openTUN(t, o.Name)
		apply(t, s, steered(index))
		stop(t, s)
		wantFinding(t, o, "nftables", steering.OK, "guards")
		tun.Close()
		wantFinding(t, o, "nftables", steering.Warn, fmt.Sprintf("but not one that comes up as number %d", index))
		s = start(t, o)
		apply(t, s, guard())
		stop(t, s)
		wantFinding(t, o, "nftables", steering.OK, "guards")
	})
}
