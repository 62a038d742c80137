package vmtest_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/vmtest"
)

// shown is which case passed, against what, and in which time.
var shown = regexp.MustCompile(`(?m)^ *(--- PASS: .*|\S+: (other end:|\d+ peers|\d+ echoes).*)$`)

// TestInterop runs the cases of our tunnel against the kernel's module, which
// here may not be missing.
func TestInterop(t *testing.T) {
	needMachines(t)
	const pkg = "internal/interop"
	built := build(t, []string{pkg})
	for _, kernel := range kernels {
		t.Run(kernel.pkg, func(t *testing.T) {
			m := machine(t, built, kernel.pkg)
			m.MemoryMiB = 2048
			only := "^Test(Tunnel|LongTunnel)"
			if *vmRun != "" {
				only = *vmRun
			}
			c := testCommand(t, m, built, pkg, only, "")
			c.Env = append(c.Env, "WGSTEER_INTEROP=kernel", "WGSTEER_LONG=1")
			report := run(t, m, []vmtest.Command{c})
			r := report.Results[0]
			judge(t, r, nil)
			keepCoverage(t, r)
			for _, line := range shown.FindAll(r.Output, -1) {
				t.Logf("%s", line)
			}
			t.Logf("%s was up after %v", report.Release, report.Boot.Round(10*time.Millisecond))
		})
	}
}
