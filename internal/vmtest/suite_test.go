package vmtest_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/internal/vmtest"
)

// Machines take minutes in software emulation, so they are asked for.
var (
	vm      = flag.Bool("vm", false, "run the other packages' tests in virtual machines")
	vmRun   = flag.String("vm.run", "", "of the tests inside, run those that match alone")
	vmPkgs  = flag.String("vm.packages", "", "of the packages, run the tests of those that match alone")
	vmCover = flag.String("vm.cover", "", "an existing directory for coverage, as go tool covdata reads it")
)

const module = "../.."

// kernels are the oldest that is supported, which has clsact alone, and one that
// has everything.
var kernels = []struct {
	pkg   string
	lacks *regexp.Regexp // the tests that may be skipped, because it has no tcx or no USO; nil none
	// clusters are the tests of internal/e2e that are run: each kind of network where
	// pods are steered by clsact, else what the usual machine's kernel has no devices for.
	clusters string
	// sizes are the underlays' MTUs over which long streams and datagrams of every size go.
	sizes string
}{
	{
		"linux-image-cloud-amd64",
		regexp.MustCompile(`^Test(TaggedUplink|TaggedPacketInTunnel|OnDevices|TooLongOnDevices|OtherMechanism|ReadGSO)\b`),
		"^TestNetworks$/^(bridge|routes|vxlan|ipip|default-route|plugin-ptp-masq)$|^TestUplinks$|^Test(Services|NetworkPolicy)$/^ipip$|^TestLongLeakMatrixByClsact$/^(filter|clsact) ",
		"1500",
	},
	{
		"linux-image-6.12-cloud-amd64",
		nil,
		"^Test(Networks|Services|NetworkPolicy)$/^ipip$|^TestUplinks$/^(bond|vlan)",
		"(1400|1500|9000)",
	},
}

type tested struct{ path, skip string }

// packages are those that meet the kernel. Of their tests, skip leaves out what
// tells how fast the machine is.
var packages = []tested{
	{"bpf", ""},
	{"steering", ""},
	{"tunnel", ""},
	{"tunnel/tundev", ""},
	{"tunnel/udpbind", "^TestNotSlowerThanStock$"},
	{"tunnel/userspace", "^TestReadsAreWhole$"}, // a reader that is slow lets TCP send little at a time
	{"dataplane", ""},
}

// devices are the modules of all kinds of device and hook that tests make.
var devices = []string{
	"veth", "bridge", "dummy", "bonding", "8021q", "macvlan", "ipvlan", "wireguard",
	"vxlan", "geneve", "ipip", "sit", "ip_gre", "ip6_gre", "ip6_tunnel",
	"sch_ingress", "cls_bpf", "act_bpf", "sch_netem",
	"nf_tables", "nft_ct", "nft_nat", "nft_masq", "nft_chain_nat", "nft_reject_inet", "nft_reject_bridge",
	"nft_fib_inet", "nft_fib_ipv4", "nft_fib_ipv6", "nft_limit", "nft_log", "nft_quota", "nft_meta_bridge",
	"nft_compat", "xt_comment", "xt_mark", "xt_addrtype", "xt_nat", "xt_MASQUERADE", "xt_tcpudp", // iptables
}

// further are modules that one kernel has, and the others have built in.
var further = map[string][]string{
	"linux-image-cloud-amd64": {"nft_objref"}, // a part of nf_tables from Linux 6.2 on
}

// TestPackages runs the tests of packages that meet the kernel, on each kernel.
func TestPackages(t *testing.T) {
	needMachines(t)
	wanted, err := regexp.Compile(*vmPkgs)
	if err != nil {
		t.Fatalf("-vm.packages: %v", err)
	}
	packages := slices.DeleteFunc(slices.Clone(packages), func(p tested) bool { return !wanted.MatchString(p.path) })
	var paths []string
	for _, p := range packages {
		paths = append(paths, p.path)
	}
	built := build(t, paths)
	for _, kernel := range kernels {
		t.Run(kernel.pkg, func(t *testing.T) {
			m := machine(t, built, kernel.pkg)
			var commands []vmtest.Command
			for _, p := range packages {
				commands = append(commands, testCommand(t, m, built, p.path, *vmRun, p.skip))
			}
			report := run(t, m, commands)
			t.Logf("%s was up after %v", report.Release, report.Boot.Round(10*time.Millisecond))
			for i, r := range report.Results {
				t.Run(packages[i].path, func(t *testing.T) {
					judge(t, r, kernel.lacks)
					keepCoverage(t, r)
				})
			}
		})
	}
}

// testCommand puts a package's tests into a machine, beside the package's files
// as go test has them, and runs them.
func testCommand(t *testing.T, m vmtest.Machine, built, pkg, only, skip string) vmtest.Command {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(module, pkg, "*.*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", pkg, err)
	}
	dir := path.Join("/src", pkg)
	for _, f := range files {
		m.Files[path.Join(dir, filepath.Base(f))] = f
	}
	binary := path.Base(pkg) + ".test"
	m.Files[path.Join(dir, binary)] = filepath.Join(built, binary)
	c := vmtest.Command{
		Args: []string{path.Join(dir, binary), "-test.v", "-test.short", "-test.timeout=25m", "-test.run=" + only, "-test.skip=" + skip},
		Env:  []string{"REQUIRE_PRIVILEGED=1"}, Dir: dir, Timeout: 26 * time.Minute,
	}
	if *vmCover != "" {
		c.Args = append(c.Args, "-test.gocoverdir="+dir)
		c.Collect = []string{dir + "/cov*.*"}
	}
	return c
}

var (
	passed   = regexp.MustCompile(`(?m)^PASS$`)
	ended    = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): `)
	subtests = regexp.MustCompile(`(?m)^    --- (PASS: .*)$`)
	slow     = regexp.MustCompile(`(?m)^--- PASS: (.* \(\d{2,}\.\d+s\))$`) // ten seconds and more
	skipped  = regexp.MustCompile(`(?m)^\s*--- SKIP: (.*)$`)
)

// judge fails where the tests inside did, or skipped what the kernel has.
func judge(t *testing.T, r vmtest.Result, lacks *regexp.Regexp) {
	t.Helper()
	if r.Exit != 0 || r.Problem != "" || !passed.Match(r.Output) {
		t.Fatalf("exit status %d, %s\n%s", r.Exit, r.Problem, r.Output)
	}
	for _, s := range skipped.FindAllSubmatch(r.Output, -1) {
		if lacks != nil && lacks.Match(s[1]) {
			t.Logf("skipped %s", s[1])
		} else {
			t.Errorf("skipped %s\n%s", s[1], r.Output)
		}
	}
	for _, s := range slow.FindAllSubmatch(r.Output, -1) {
		t.Logf("slow: %s", s[1])
	}
	t.Logf("%d tests in %v", len(ended.FindAll(r.Output, -1)), r.Took.Round(10*time.Millisecond))
}

// keepCoverage writes what the processes inside counted, a file each; names are
// unique by a hash and the time.
func keepCoverage(t *testing.T, r vmtest.Result) {
	t.Helper()
	if *vmCover == "" {
		return
	}
	if len(r.Files) < 2 { // what there is, and how often
		t.Fatalf("%d coverage files", len(r.Files))
	}
	for name, data := range r.Files {
		if err := os.WriteFile(filepath.Join(*vmCover, path.Base(name)), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// needMachines skips a test that needs them, or says why there can be none.
func needMachines(t *testing.T) {
	t.Helper()
	if !*vm {
		t.Skip("machines are made with -vm alone, as make test-vm gives it")
	}
	if err := vmtest.Missing(); err != nil {
		privtest.Missing(t, err.Error())
	}
}

// build builds the guest program, the product and the tests of packages, static.
func build(t *testing.T, packages []string) string {
	t.Helper()
	dir := t.TempDir()
	builds := [][]string{{"build", "-o", dir + "/", "./internal/vmtest/guest", "./cmd/wgsteer"}}
	if len(packages) > 0 {
		tests := []string{"test", "-c", "-ldflags=-s -w", "-o", dir + "/"}
		if *vmCover != "" {
			tests = append(tests, "-coverpkg=./...")
		}
		for _, p := range packages {
			tests = append(tests, "./"+p)
		}
		builds = append(builds, tests)
	}
	for _, args := range builds {
		cmd := exec.Command("go", args...)
		cmd.Dir = module
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// machine is one with everything that the tests call.
func machine(t *testing.T, built, kernel string) vmtest.Machine {
	t.Helper()
	cache, err := vmtest.Cache()
	if err != nil {
		t.Fatal(err)
	}
	k, err := vmtest.FindKernel(cache, kernel)
	if err != nil {
		privtest.Missing(t, err.Error())
	}
	return vmtest.Machine{
		Kernel: k, Guest: filepath.Join(built, "guest"), Files: map[string]string{},
		Tools: []string{"sh", "ip", "ss", "wg", "nft", "unshare", "nsenter", "mount", "mkdir", "rm", "sleep"}, Modules: slices.Concat(devices, further[kernel]), Load: []string{"tun"},
	}
}

// run boots a machine and fails the test where it does not come to its end.
func run(t *testing.T, m vmtest.Machine, commands []vmtest.Command) vmtest.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	defer cancel()
	report, err := m.Run(ctx, commands)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
