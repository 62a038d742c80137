package vmtest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/internal/vmtest"
)

// TestKernelTunnel runs what needs a kernel that has WireGuard: the tests of
// tunnel/kernel, those of clusters of both back ends, and a lab of both. None of them
// may be skipped.
func TestKernelTunnel(t *testing.T) {
	needMachines(t)
	suites := []struct{ name, pkg, only, backends string }{
		{"tunnel", "tunnel/kernel", "", ""},
		{"dataplane", "dataplane", "^TestKernelBackend$", ""},
		{"backends", "internal/e2e", "^Test(MixedBackends|KernelTunnelOutlivesItsDaemon|ABackendChanges)$", ""},
		// What shows steering at work, with a kernel link as its tunnel device.
		{"steering", "internal/e2e", "^TestNetworks$/^vxlan$|^Test(PodsAndNodes|RotationLeavesOthersAlone)$|^TestPathMTU$/1500", "kernel,userspace"},
	}
	built := build(t, []string{"tunnel/kernel", "dataplane", "internal/e2e"})
	for _, kernel := range kernels {
		t.Run(kernel.pkg, func(t *testing.T) {
			m := machine(t, built, kernel.pkg)
			m.MemoryMiB = 2048
			m.Tools = append(m.Tools, "cut")
			m.Files["/usr/bin/wgsteer"] = filepath.Join(built, "wgsteer")
			commands := []vmtest.Command{lab("userspace,kernel"), lab("kernel")}
			for _, s := range suites {
				only := s.only
				if *vmRun != "" {
					only = *vmRun
				}
				c := testCommand(t, m, built, s.pkg, only, "")
				c.Env = append(c.Env, "REQUIRE_WIREGUARD=1", "WGSTEER_BINARY=/usr/bin/wgsteer", "WGSTEER_TEST_BACKENDS="+s.backends)
				commands = append(commands, c)
			}
			report := run(t, m, commands)
			for i, want := range [][]string{{"userspace", "kernel"}, {"kernel", "kernel"}} {
				t.Run("lab of "+strings.Join(want, ", "), func(t *testing.T) {
					r := labReport(t, report.Results[i])
					if diff := cmp.Diff(want, r.backends()); diff != "" || !r.OK || r.Wire.Plaintext != 0 {
						t.Errorf("ok %v, failures %q, wire %+v; backends (-want +got):\n%s\n%s", r.OK, r.Failures, r.Wire, diff, report.Results[i].Output)
					}
				})
			}
			for i, s := range suites {
				t.Run(s.name, func(t *testing.T) {
					r := report.Results[i+2]
					judge(t, r, nil)
					keepCoverage(t, r)
					t.Logf("with the WireGuard of Linux %s:\n%s", report.Release, r.Output)
				})
			}
		})
	}
}

// TestNoKernelTunnel: where the module cannot be loaded, auto is userspace and says
// why, and kernel is an error that says what to do.
func TestNoKernelTunnel(t *testing.T) {
	needMachines(t)
	built := build(t, nil)
	m := machine(t, built, kernels[1].pkg)
	m.Modules = slices.DeleteFunc(slices.Clone(m.Modules), func(name string) bool { return name == "wireguard" })
	m.Files["/usr/bin/wgsteer"] = filepath.Join(built, "wgsteer")
	report := run(t, m, []vmtest.Command{lab("auto"), lab("userspace,kernel")})
	r := labReport(t, report.Results[0])
	if diff := cmp.Diff([]string{"userspace", "userspace"}, r.backends()); diff != "" || !r.OK {
		t.Errorf("auto: ok %v, failures %q; backends (-want +got):\n%s", r.OK, r.Failures, diff)
	}
	r = labReport(t, report.Results[1])
	want := []string{"backend: kernel: make a kernel WireGuard link: this kernel has no WireGuard: its module is not there, or cannot be loaded (operation not supported); load it with: modprobe wireguard; where there is none, install the kernel's package of modules, or use another backend"}
	if diff := cmp.Diff(want, r.Failures); diff != "" || r.OK {
		t.Errorf("kernel: ok %v; failures (-want +got):\n%s", r.OK, diff)
	}
}

// lab runs a lab of two nodes that take the back ends in turn: a flow of a lab has 10 s,
// of which emulation takes several, and the fewer there are the better.
func lab(backends string) vmtest.Command {
	return vmtest.Command{Args: []string{"/usr/bin/wgsteer", "lab", "run", "-o", "json", "--nodes", "2", "--pods", "1", "--backend", backends}}
}

// labSaid is of the report of `wgsteer lab run` what is judged here.
type labSaid struct {
	OK       bool
	Failures []string
	Nodes    []struct{ Name, Backend string }
	Wire     struct {
		Plaintext uint64 `json:"plaintextPodPackets"`
	}
}

func (r labSaid) backends() (list []string) {
	for _, n := range r.Nodes {
		list = append(list, n.Backend)
	}
	return list
}

func labReport(t *testing.T, r vmtest.Result) (said labSaid) {
	t.Helper()
	_, report, _ := bytes.Cut(r.Output, []byte("\n{\n")) // after the steps, which are for people
	if err := json.NewDecoder(io.MultiReader(strings.NewReader("{"), bytes.NewReader(report))).Decode(&said); err != nil || r.Problem != "" {
		t.Fatalf("%v, exit status %d, %s\n%s", err, r.Exit, r.Problem, r.Output)
	}
	return said
}
