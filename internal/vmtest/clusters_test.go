package vmtest_test

import (
	"path/filepath"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/internal/vmtest"
)

// clusterTools are what the tests of whole clusters call, beside those of every
// machine.
var clusterTools = []string{
	"iptables", "ip6tables", "iptables-restore", "ip6tables-restore",
	"/usr/lib/cni/bridge", "/usr/lib/cni/ptp", "/usr/lib/cni/host-local",
}

// TestClusters runs the tests of whole clusters over devices that not every
// kernel has (ipip, sit, bond, vlan), and where the programs hang on clsact.
func TestClusters(t *testing.T) {
	needMachines(t)
	built := build(t, []string{"internal/e2e", "internal/netlab"})
	for _, kernel := range kernels {
		t.Run(kernel.pkg, func(t *testing.T) {
			m := machine(t, built, kernel.pkg)
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
			names := []string{"internal/netlab", "internal/e2e"}
			only := []string{"^TestNetworks$/^ipip$|^TestUplinks$|^TestMTU$/^ipip ", kernel.clusters}
			var commands []vmtest.Command
			for i, name := range names {
				if *vmRun != "" {
					only[i] = *vmRun
				}
				c := testCommand(t, m, built, name, only[i], "")
				c.Env = append(c.Env, "WGSTEER_BINARY=/usr/bin/wgsteer")
				commands = append(commands, c)
			}
			for i, r := range run(t, m, commands).Results {
				t.Run(names[i], func(t *testing.T) {
					judge(t, r, nil)
					keepCoverage(t, r)
					for _, line := range subtests.FindAllSubmatch(r.Output, -1) {
						t.Logf("%s", line[1])
					}
				})
			}
		})
	}
}
