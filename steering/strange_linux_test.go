package steering_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/wgsteer/wgsteer/steering"
)

// TestStrangePins: what somebody else pinned among our links stops nothing, is named,
// and is not removed.
func TestStrangePins(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		links := filepath.Join(o.BPFFS, o.Name, "links")
		if err := os.MkdirAll(links, 0o700); err != nil {
			t.Fatal(err)
		}
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		strange := filepath.Join(links, "somebody-elses")
		if err := m.Pin(strange); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second takes over what the first left
			s := start(t, o)
			apply(t, s, guard())
			stop(t, s)
		}
		wantFinding(t, o, "layers", steering.OK, "every layer")
		wantFinding(t, o, "leftovers", steering.Warn, "not wgsteer's, among its links: "+strange)

		removed, err := steering.Teardown(o)
		if err == nil || !strings.Contains(err.Error(), "left in place: "+strange) || strings.Contains(err.Error(), "left over") || len(removed) < 8 {
			t.Errorf("teardown removed %q, and says: %v", removed, err)
		}
		if _, err := os.Stat(strange); err != nil {
			t.Error(err)
		}
		if entries, err := os.ReadDir(links); err != nil || len(entries) != 1 {
			t.Errorf("what is left among the links: %v, %v", entries, err)
		}
		if err := os.Remove(strange); err != nil {
			t.Fatal(err)
		}
		if removed, err := steering.Teardown(o); err != nil || len(removed) < 2 {
			t.Errorf("the second time it removed %q, %v", removed, err)
		}
		if _, err := os.Stat(filepath.Dir(links)); err == nil {
			t.Errorf("%s is still there", filepath.Dir(links))
		}
	})
}
