package vmtest_test

import (
	"cmp"
	"path/filepath"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/internal/vmtest"
)

// clusterTools are what the tests of whole clusters call, beside those of every
// machine.
var clusterTools = []string{
	"tc", "iptables", "ip6tables", "iptables-restore", "ip6tables-restore",
	"/usr/lib/cni/bridge", "/usr/lib/cni/ptp", "/usr/lib/cni/host-local",
}

// TestClusters runs the tests of whole clusters over devices that not every
// kernel has (ipip, sit, bond, vlan), and where the programs hang on clsact.
func TestClusters(t *testing.T) {
	needMachines(t)
	built := build(t, []string{"internal/e2e", "internal/netlab"})
	for _, kernel := range kernels {
		t.Run(kernel.pkg, func(t *testing.T) {
			clusters(t, built, kernel.pkg, []selection{
				{"internal/netlab", "^TestNetworks$/^ipip$|^TestUplinks$|^TestMTU$/^ipip "},
				{"internal/e2e", kernel.clusters},
			})
		})
	}
}

// TestSizes runs TestLongSizes over ipip, which the usual machine's kernel has no
// devices for. Each kernel takes minutes for it.
func TestSizes(t *testing.T) {
	needMachines(t)
	built := build(t, []string{"internal/e2e"})
	for _, kernel := range kernels {
		t.Run(kernel.pkg, func(t *testing.T) {
			clusters(t, built, kernel.pkg, []selection{{"internal/e2e", "^TestLongSizes$/^ipip " + kernel.sizes + "$"}})
		})
	}
}

// selection is some tests of a package.
type selection struct{ pkg, only string }

// clusters runs tests of whole clusters, those that are long among them, in one machine.
func clusters(t *testing.T, built, kernel string, selected []selection) {
	t.Helper()
	m := machine(t, built, kernel)
	m.MemoryMiB = 2048
	m.Tools = append(m.Tools, clusterTools...)
	m.Files["/usr/bin/wgsteer"] = filepath.Join(built, "wgsteer")
	extensions, err := filepath.Glob("/usr/lib/*/xtables/*.so") // iptables opens them by name
	if err != nil || len(extensions) == 0 {
		privtest.Missing(t, "this test needs iptables' extensions (scripts/setup vm installs them)")
	}
	for _, e := range extensions {
		m.Files[e] = e
	}
	var commands []vmtest.Command
	for _, s := range selected {
		c := testCommand(t, m, built, s.pkg, cmp.Or(*vmRun, s.only), "")
		c.Env = append(c.Env, "WGSTEER_BINARY=/usr/bin/wgsteer", "WGSTEER_LONG=1")
		commands = append(commands, c)
	}
	for i, r := range run(t, m, commands).Results {
		t.Run(selected[i].pkg, func(t *testing.T) {
			judge(t, r, nil)
			keepCoverage(t, r)
			for _, line := range subtests.FindAllSubmatch(r.Output, -1) {
				t.Logf("%s", line[1])
			}
		})
	}
}
