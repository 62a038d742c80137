package steering_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/steering"
)

// TestPodDevicesChecked: check and explain name the device that a route has pods
// behind, with and without the process that made the table.
func TestPodDevicesChecked(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		_, index := openTUN(t, o.Name)
		hidden, hidden6 := netip.MustParseAddr("10.244.1.9"), netip.MustParseAddr("fd00:244:1::9")
		state := steered(index)
		apply(t, s, state)
		named := state
		named.PodDevices = []string{"pod*"}
		wantPodDevices(t, o, state)
		wantPodDevices(t, o, named, "fail: podDevices in force: none; the configuration says: pod*")
		apply(t, s, named)
		wantPodDevices(t, o, named, "ok: podDevices alone: pod*")
		wantPodDevices(t, o, state, "fail: podDevices in force: pod*; the configuration says: none")

		behindAnother(t, hidden, hidden6)
		named.PodDevices = []string{"pod*", "cali*", "eth0"}
		apply(t, s, named)
		stop(t, s)
		wantFinding(t, o, "nftables", steering.OK, "guards")
		wantPodDevices(t, o, named, "warn: fit eth0", "warn: podDevices name cali*, which no device fits", "fail: behind late0, which is none of podDevices (cali*, eth0, pod*)")
		for pod, peer := range map[netip.Addr]netip.Addr{hidden: peerPod, hidden6: peerPod6} {
			e := explain(t, o, peer, pod)
			if e.Verdict != "drop" || e.Reason != "misrouted" {
				t.Errorf("to a pod behind another device: %+v", e)
			}
			wantText(t, e.Why, "a route has the pod behind late0, which is none of podDevices (cali*, eth0, pod*): the nftables table drops it")
		}
		if e := explain(t, o, peerPod, podAddr); e.Verdict != "pass" || e.Reason != "to_local" {
			t.Errorf("to a pod behind its own: %+v", e)
		}
		nftTool(t, "flush chain "+nftables+" unsteered_egress")
		if e := explain(t, o, peerPod, hidden); e.Verdict != "pass" || e.Reason != "to_local" {
			t.Errorf("without the rules: %+v", e)
		}
		wantFinding(t, o, "nftables", steering.Fail, "other rules in chain unsteered_egress")
	})
}

// wantPodDevices compares findings, each a level and a part of its text.
func wantPodDevices(t *testing.T, o steering.Options, state steering.State, want ...string) {
	t.Helper()
	found := steering.CheckPodDevices(o, state)
	if len(found) != len(want) {
		t.Fatalf("%+v, want %q", found, want)
	}
	for i, f := range found {
		if level, text, _ := strings.Cut(want[i], ": "); string(f.Level) != level || !strings.Contains(f.Detail, text) {
			t.Errorf("%+v, want %s", f, want[i])
		}
	}
}
