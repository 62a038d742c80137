package main

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// unit reads the settings of a unit in deploy/systemd; of those that are given
// several times, the last, but for lists.
func unit(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/systemd/" + name)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			if name == "Before" { // a list, which further lines add to
				value = settings[name] + " " + value
			}
			settings[name] = value
		}
	}
	return settings
}

// The unit and the command agree.
func TestUnit(t *testing.T) {
	u := unit(t, "wgsteer.service")
	if got, want := u["RestartPreventExitStatus"], strconv.Itoa(exitUsage); got != want {
		t.Errorf("RestartPreventExitStatus=%s, want %s", got, want)
	}
	if got, want := u["ExecStart"], "/usr/local/bin/wgsteer run --config "+defaultConfigFile; got != want {
		t.Errorf("ExecStart=%s, want %s", got, want)
	}
	watchdog, err := time.ParseDuration(u["WatchdogSec"])
	if err != nil || watchdog <= notifyRunning {
		t.Errorf("WatchdogSec=%s, but a sign of life comes every %s", u["WatchdogSec"], notifyRunning)
	}
	verifyUnit(t, "wgsteer.service")
}

// The guard is up before pods can be, and after what would flush it away; it may do
// what the daemon may, less the TUN device.
func TestGuardUnit(t *testing.T) {
	u, daemon := unit(t, "wgsteer-guard.service"), unit(t, "wgsteer.service")
	if got, want := u["ExecStart"], "/usr/local/bin/wgsteer guard --config "+defaultConfigFile; got != want {
		t.Errorf("ExecStart=%s, want %s", got, want)
	}
	for setting, services := range map[string]string{
		"Before": "kubelet containerd crio docker k3s k3s-agent rke2-server rke2-agent wgsteer",
		"After":  "nftables firewalld ufw",
	} {
		for _, service := range strings.Fields(services) {
			if !slices.Contains(strings.Fields(u[setting]), service+".service") {
				t.Errorf("%s=%s lacks %s", setting, u[setting], service)
			}
		}
	}
	if !strings.Contains(daemon["After"], "wgsteer-guard.service") {
		t.Errorf("the daemon's After=%s lacks the guard", daemon["After"])
	}
	for _, same := range []string{"CapabilityBoundingSet", "SystemCallFilter", "RestrictAddressFamilies", "MemoryDenyWriteExecute", "StateDirectoryMode"} {
		if u[same] != daemon[same] {
			t.Errorf("%s=%s, but the daemon has %s", same, u[same], daemon[same])
		}
	}
	verifyUnit(t, "wgsteer-guard.service")
}

// verifyUnit has systemd look at a unit, where there is one.
func verifyUnit(t *testing.T, name string) {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return
	}
	out, err := exec.Command(tool, "verify", "--man=no", "../../deploy/systemd/"+name).CombinedOutput()
	if err == nil {
		return
	}
	// Its one complaint may be that the binary is not installed here.
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "/usr/local/bin/wgsteer is not executable") {
			t.Errorf("systemd-analyze verify %s: %s", name, line)
		}
	}
}

// The capabilities that the unit grants are enough: to start, to be killed and
// to start again on what is pinned, and to be torn down.
func TestUnitCapabilities(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	setpriv := privtest.Tool(t, "setpriv")
	grant := "-all"
	for _, c := range strings.Fields(unit(t, "wgsteer.service")["CapabilityBoundingSet"]) {
		grant += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	d := newNode(t, t.TempDir(), privtest.BPFFS(t), 1)
	as := func(grant string, args ...string) *exec.Cmd {
		cmd := exec.Command(setpriv, append([]string{"--no-new-privs", "--bounding-set=" + grant, "--inh-caps=" + grant, "wgsteer"}, append(args, "--config", d.file)...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	wgsteer := func(args ...string) *exec.Cmd { return as(grant, args...) }
	for _, verb := range []string{"guard", "teardown"} { // what cannot be done is not told of as done
		if out, err := as("-all", verb).CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "wgsteer: ") || !strings.Contains(string(out), "needed") {
			t.Errorf("%s without capabilities: %v\n%s", verb, err, out)
		}
	}
	if out, err := wgsteer("guard").CombinedOutput(); err != nil {
		t.Fatalf("guard: %v\n%s", err, out)
	}
	for _, end := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		daemon := wgsteer("run")
		daemon.Stderr = t.Output()
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, "the daemon is ready", func() bool { return wgsteer("status").Run() == nil })
		if err := daemon.Process.Signal(end); err != nil {
			t.Fatal(err)
		}
		if err := daemon.Wait(); end == syscall.SIGTERM && err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	}
	out, err := wgsteer("teardown").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "removed  unreachable route to 10.244.0.0/16") {
		t.Errorf("teardown: %v\n%s", err, out)
	}
}
