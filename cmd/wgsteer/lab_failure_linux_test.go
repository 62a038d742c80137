package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/tunnel/kernel"
)

// runAdjusted runs a lab from this process, whose daemons have a configuration
// that they should not have.
func (b labBinary) runAdjusted(t *testing.T, adjust func(*labDaemon), args ...string) (stdout string, err error) {
	t.Helper()
	e, out, _ := testEnv()
	e.Stderr = t.Output()
	e.Hostname = os.Hostname
	cmd := lab{env: e, executable: func() (string, error) { return b.path, nil }, adjust: adjust}.command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"run", "--nodes=2", "--pods=1", "--name", newLabName(t)}, args...))
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// testLeak: daemons that are ready, but steer nothing and let plaintext pass.
func (b labBinary) testLeak(t *testing.T) {
	out, err := b.runAdjusted(t, func(d *labDaemon) { d.Policy, d.Devices = "permissive", []string{"lo"} }, "-o", "json")
	r := parseReport(t, out)
	if err == nil || r.OK {
		t.Errorf("error %v, ok %v; want that it fails", err, r.OK)
	}
	if r.Wire.PlaintextPodPackets == 0 || len(r.Wire.Plaintext) == 0 || !strings.Contains(strings.Join(r.Failures, "; "), "in plaintext") {
		t.Errorf("wire %+v, failures %q; want plaintext", r.Wire, r.Failures)
	}
	removeLogs(t, r.Logs, "node-a")
}

// removeLogs removes what a failed run kept; the log of node has to be there.
func removeLogs(t *testing.T, dir, node string) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(dir, node+"-daemon.log"))
	if err != nil || len(log) == 0 {
		t.Fatalf("the daemon's log was not kept: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// testBrokenDaemon: a daemon that does not start.
func (b labBinary) testBrokenDaemon(t *testing.T) {
	out, err := b.runAdjusted(t, func(d *labDaemon) {
		if d.Node == "node-b" {
			d.Metrics = "203.0.113.1:9587" // no address of the lab
		}
	})
	if err != errSilent {
		t.Errorf("error %v, want the one that the output explains", err)
	}
	if last := lastOf(out); !strings.HasPrefix(last, "demo: failed: the daemon of node-b has ended; it said: ") || !strings.Contains(last, "203.0.113.1:9587") {
		t.Errorf("the last line does not say what failed:\n%s", out)
	}
	_, after, ok := strings.Cut(out, "Logs are kept in ")
	if !ok {
		t.Fatalf("it does not say where the logs are:\n%s", out)
	}
	dir, _, _ := strings.Cut(after, "\n")
	removeLogs(t, dir, "node-b")
}

// testIPIP: a network that not every kernel has works, or says what is missing.
func (b labBinary) testIPIP(t *testing.T) {
	out, err := b.runAdjusted(t, nil, "--cni", "ipip", "-o", "json")
	r := parseReport(t, out)
	if err == nil && r.OK {
		return
	}
	const want = "this kernel has no ipip devices, by which the CNI network ipip reaches other nodes' pods: load the kernel module for them, or choose another"
	if len(r.Failures) != 1 || !strings.Contains(r.Failures[0], want) || r.Logs != "" {
		t.Errorf("failures %q, logs %q; want none, or %q", r.Failures, r.Logs, want)
	}
}

// testBackends: auto takes what there is, and says so in each daemon's status; the
// kernel's WireGuard works, or what is missing is told before anything is made.
func (b labBinary) testBackends(t *testing.T) {
	there := kernel.Probe() == nil
	want := map[bool]string{true: "kernel", false: "userspace"}[there]
	out, _ := b.run(t, exitOK, "run", "-o", "json", "--nodes=2", "--pods=1", "--backend=userspace,auto", "--name", newLabName(t))
	if r := parseReport(t, out); len(r.Nodes) != 2 || r.Nodes[0].Backend != "userspace" || r.Nodes[1].Backend != want {
		t.Errorf("nodes %+v, want userspace and %s", r.Nodes, want)
	}
	if there {
		return // internal/vmtest has the lab of both
	}
	out, _ = b.run(t, exitFailed, "run", "-o", "json", "--backend=userspace,kernel", "--name", newLabName(t))
	r := parseReport(t, out)
	if len(r.Failures) != 1 || !strings.Contains(r.Failures[0], "backend: ") || !strings.Contains(r.Failures[0], "modprobe wireguard") || len(r.Nodes) != 0 {
		t.Errorf("nodes %v, failures %q", r.Nodes, r.Failures)
	}
}

// startRun starts a run and returns once its daemons are being started.
func (b labBinary) startRun(t *testing.T, name string) (cmd *exec.Cmd, stdout *bytes.Buffer) {
	t.Helper()
	stdout = new(bytes.Buffer)
	cmd = exec.Command(b.path, "lab", "run", "--nodes=2", "--pods=1", "--name", name)
	cmd.Stdout = stdout
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := new(strings.Builder)
	for buf := make([]byte, 256); !strings.Contains(seen.String(), "lab: start a daemon"); {
		n, err := progress.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			t.Fatalf("it ended early: %v\n%s", err, seen)
		}
	}
	return cmd, stdout
}

func (b labBinary) testInterrupt(t *testing.T) {
	cmd, stdout := b.startRun(t, newLabName(t))
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit status is looked at
	if got := cmd.ProcessState.ExitCode(); got != exitFailed {
		t.Errorf("exit status %d, want %d", got, exitFailed)
	}
	if want := "demo: failed: ended by a signal (interrupt)"; lastOf(stdout.String()) != want {
		t.Errorf("the last line is %q, want %q", lastOf(stdout.String()), want)
	}
	// newLabName looks that nothing is left.
}

// testKill: who is killed cannot clean up; the reaper does.
func (b labBinary) testKill(t *testing.T) {
	name := newLabName(t)
	cmd, _ := b.startRun(t, name)
	if len(labLeft(t, name)) == 0 {
		t.Fatal("there is nothing to clean up")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for deadline := time.Now().Add(30 * time.Second); len(labLeft(t, name)) > 0 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond) // nothing tells when another process has finished
	}
}
