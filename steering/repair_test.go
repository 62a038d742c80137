package steering

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRepairs: what is new, or is wanted no longer, is no repair; what stood and had
// to be made again is.
func TestRepairs(t *testing.T) {
	guard := part{layer: layerProgram, name: "guard on the egress of eth0", device: 2}
	again := part{layer: layerProgram, name: "guard on the egress of eth0", device: 3} // another eth0
	tunnel := part{layer: layerRoute, device: 9, prefix: netip.MustParsePrefix("10.244.2.0/24")}
	last := part{layer: layerRoute, prefix: netip.MustParsePrefix("10.244.0.0/16")}
	at := func(minute int) time.Time { return time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC) }
	var r repairs
	for i, step := range []struct {
		put, kept []part
		failed    bool
		want      []Repair
	}{
		0: {put: []part{guard, last}},
		1: {put: []part{tunnel}, kept: []part{guard, last}},
		2: {put: []part{guard}, kept: []part{last, tunnel}, want: []Repair{{layerProgram, "guard on the egress of eth0", 1, at(2)}}},
		3: {put: []part{guard, last}, kept: []part{tunnel}, want: []Repair{
			{layerProgram, "guard on the egress of eth0", 2, at(3)}, {layerRoute, "unreachable route to 10.244.0.0/16", 1, at(3)}}},
		4: {put: []part{again}, kept: []part{last}},         // another device; the tunnel went
		5: {put: []part{tunnel}, kept: []part{again, last}}, // and came
		6: {kept: []part{again}, failed: true},              // the routes could not be read
		7: {put: []part{tunnel}, kept: []part{again, last}, want: []Repair{{layerRoute, "route to 10.244.2.0/24", 1, at(7)}}},
	} {
		r.begin()
		for _, p := range step.put {
			r.stand(p, true, at(i))
		}
		for _, p := range step.kept {
			r.stand(p, false, at(i))
		}
		r.end(step.failed)
		if diff := cmp.Diff(step.want, r.fresh); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
	if got := r.list(); len(got) != 3 || got[0].Times != 2 {
		t.Errorf("all of them: %+v", got)
	}
}
