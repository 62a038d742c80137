package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// unit reads the settings of deploy/systemd/wgsteer.service; of those that are
// given several times, the last.
func unit(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/systemd/wgsteer.service")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			settings[name] = value
		}
	}
	return settings
}

// The unit and the command agree.
func TestUnit(t *testing.T) {
	u := unit(t)
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
	if tool, err := exec.LookPath("systemd-analyze"); err == nil {
		if out, err := exec.Command(tool, "verify", "--man=no", "../../deploy/systemd/wgsteer.service").CombinedOutput(); err != nil {
			// Its one complaint may be that the binary is not installed here.
			for line := range strings.Lines(string(out)) {
				if !strings.Contains(line, "/usr/local/bin/wgsteer is not executable") {
					t.Errorf("systemd-analyze verify: %s", line)
				}
			}
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
	for _, c := range strings.Fields(unit(t)["CapabilityBoundingSet"]) {
		grant += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	d := newNode(t, t.TempDir(), privtest.BPFFS(t), 1)
	wgsteer := func(args ...string) *exec.Cmd {
		cmd := exec.Command(setpriv, append([]string{"--no-new-privs", "--bounding-set=" + grant, "--inh-caps=" + grant, "wgsteer"}, append(args, "--config", d.file)...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd
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
	if err != nil || !strings.Contains(string(out), "removed  route to 10.244.0.0/16") {
		t.Errorf("teardown: %v\n%s", err, out)
	}
}
