package steering_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/steering"
)

// What is read for people is what was applied, also when the process that did is gone.
func TestInspect(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		_, index := openTUN(t, o.Name)
		apply(t, s, steered(index))
		stop(t, s)

		maps, err := steering.InspectMaps(o)
		if err != nil {
			t.Fatal(err)
		}
		var classes []string
		for _, p := range maps.Prefixes {
			classes = append(classes, p.Class)
		}
		if !maps.Strict || int(maps.TunnelIfindex) != index || !slices.Contains(classes, "remote_pod") || len(maps.Peers) == 0 || !slices.Contains(maps.VXLANPorts, 4789) {
			t.Errorf("maps %+v", maps)
		}

		programs, err := steering.InspectPrograms(o)
		if err != nil {
			t.Fatal(err)
		}
		owned := 0
		for _, d := range programs.Devices {
			for _, f := range slices.Concat(d.FiltersEgress, d.FiltersIngress) {
				if strings.Contains(f, "wgsteer/"+o.Name+"/") {
					owned++
				}
			}
			if !byClsact(o) {
				owned += len(d.TCXEgress) + len(d.TCXIngress)
			}
			if len(d.Errors) > 0 {
				t.Errorf("device %+v", d)
			}
		}
		if owned < 4 {
			t.Errorf("%d programs of ours on devices: %+v", owned, programs.Devices)
		}
		for _, p := range programs.Pins {
			if p.Error != "" || p.Type == "" && p.Program == 0 {
				t.Errorf("pin %+v", p)
			}
		}

		network, err := steering.InspectNetwork(o)
		if err != nil || len(network.Links) < 2 || len(network.Addresses) == 0 || len(network.Rules) == 0 ||
			!slices.ContainsFunc(network.Routes, func(r steering.InspectedRoute) bool { return r.Ours && r.Type == "unreachable" }) {
			t.Errorf("%v, network %+v", err, network)
		}
		table, err := steering.InspectTable(o)
		if err != nil || !table.Exists || table.Damage != "" || len(table.Rules) != 2 || len(table.Sets["other_pods4"]) == 0 || len(table.Counters) != 6 {
			t.Errorf("%v, table %+v", err, table)
		}
	})
}

// Where nothing was made there is little to tell, and it is told so.
func TestInspectNothing(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	o := steering.Options{BPFFS: privtest.BPFFS(t), Name: "none0"}
	if _, err := steering.InspectMaps(o); !errors.Is(err, steering.ErrNotPinned) {
		t.Errorf("maps: %v, want ErrNotPinned", err)
	}
	if programs, err := steering.InspectPrograms(o); err != nil || len(programs.Pins) > 0 || len(programs.Devices) > 0 || len(programs.Missing) == 0 {
		t.Errorf("programs: %v, %+v", err, programs)
	}
	if table, err := steering.InspectTable(o); err != nil || table.Exists {
		t.Errorf("table: %v, %+v", err, table)
	}
}
