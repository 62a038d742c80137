package steering_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/steering"
)

// TestCheckLayers: what of the guard is missing, and what is left over, is found and
// named.
func TestCheckLayers(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		wantFinding(t, o, "layers", "", "")
		wantFinding(t, o, "leftovers", "", "")
		_, index := openTUN(t, o.Name)
		s := start(t, o)
		apply(t, s, steered(index))
		wantFinding(t, o, "layers", steering.OK, "every layer")
		other := o
		other.Name = "wgt1"
		wantFinding(t, other, "leftovers", "", "pins of another") // it runs
		stop(t, s)
		wantFinding(t, o, "layers", steering.OK, "every layer")
		wantFinding(t, other, "leftovers", steering.Warn, "pins of another tunnel device, wgt0")

		removeOurRoutes(t)
		deleteClsact(t, "eth0")
		if !byClsact(o) {
			wantFinding(t, o, "layers", steering.Fail, "missing: backstop on the egress of eth0, backstop on the ingress of eth0, unreachable route to 10.244.0.0/16")
			detachLink(t, filepath.Join(o.BPFFS, o.Name, "links", fmt.Sprintf("%d-egress-guard", byName(t, "eth0").Attrs().Index)))
		}
		wantFinding(t, o, "layers", steering.Fail, "guard on the egress of eth0")

		s = start(t, o)
		apply(t, s, steered(index))
		stop(t, s)
		if err := os.RemoveAll(filepath.Join(o.BPFFS, o.Name)); err != nil {
			t.Fatal(err)
		}
		wantFinding(t, o, "leftovers", steering.Warn, "unreachable route to")
		if _, err := steering.Teardown(o); err != nil {
			t.Fatal(err)
		}
		wantFinding(t, o, "leftovers", "", "")
	})
}

// wantFinding is that one of a name and level says text; no level: none does.
func wantFinding(t *testing.T, o steering.Options, name string, level steering.Level, text string) {
	t.Helper()
	found := steering.Check(o)
	at := slices.IndexFunc(found, func(f steering.Finding) bool { return f.Name == name && strings.Contains(f.Detail, text) })
	switch {
	case level == "" && at >= 0:
		t.Errorf("there is a finding %+v", found[at])
	case level == "":
	case at < 0 || found[at].Level != level || (level != steering.OK && found[at].Mend == ""):
		t.Errorf("no %s %s that says %q: %+v", name, level, text, found)
	}
}
