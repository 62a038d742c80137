package vmtest_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/internal/vmtest"
)

// TestKernelTunnel runs the tests of tunnel/kernel where the kernel has WireGuard.
// None of them may be skipped.
func TestKernelTunnel(t *testing.T) {
	needMachines(t)
	const pkg = "tunnel/kernel"
	built := build(t, []string{pkg})
	for _, kernel := range kernels {
		t.Run(kernel.pkg, func(t *testing.T) {
			m := machine(t, built, kernel.pkg)
			m.Tools = append(m.Tools, "cut")
			c := testCommand(t, m, built, pkg, *vmRun, "")
			c.Env = append(c.Env, "REQUIRE_WIREGUARD=1")
			report := run(t, m, []vmtest.Command{c})
			r := report.Results[0]
			judge(t, r, nil)
			keepCoverage(t, r)
			t.Logf("on Linux %s:\n%s", report.Release, r.Output)
		})
	}
}
