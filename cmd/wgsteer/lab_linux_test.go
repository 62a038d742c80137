package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestLab runs labs of the real binary; each has a name of its own, and each
// test looks afterwards that nothing of it is left.
func TestLab(t *testing.T) {
	privtest.BPFFS(t) // a lab finds its own place there
	b := labBinary{filepath.Join(t.TempDir(), "wgsteer")}
	build := exec.Command("go", "build", "-o", b.path, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Run("run", b.testRun)
	t.Run("table", b.testTable)
	t.Run("keep", b.testKeep)
	t.Run("up, exec, down", b.testUpExecDown)
	t.Run("leak", b.testLeak)
	t.Run("broken daemon", b.testBrokenDaemon)
	t.Run("ipip", b.testIPIP)
	t.Run("backends", b.testBackends)
	t.Run("interrupt", b.testInterrupt)
	t.Run("kill", b.testKill)
}

// labBinary is the built wgsteer.
type labBinary struct{ path string }

// run executes a lab verb and returns what it printed.
func (b labBinary) run(t *testing.T, wantExit int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), b.path, append([]string{"lab"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != wantExit {
		t.Fatalf("wgsteer lab %s: exit status %d (%v), want %d\n%s%s", strings.Join(args, " "), got, err, wantExit, &out, &errs)
	}
	return out.String(), errs.String()
}

// newLabName is random, and has the test fail if the lab leaves anything.
func newLabName(t *testing.T) string {
	t.Helper()
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	name := hex.EncodeToString(b[:])
	t.Cleanup(func() {
		if left := labLeft(t, name); len(left) > 0 {
			t.Errorf("lab %s left behind:\n%s", name, strings.Join(left, "\n"))
		}
	})
	return name
}

// labLeft lists what there is of a lab, by its name.
func labLeft(t *testing.T, name string) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{"/run/wgsteer-lab/" + name, "/run/netns/wgs-" + name + "-*", "/sys/fs/bpf/wgsteer-lab-" + name, "/var/run/wireguard/wg-" + name + "-*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range environs {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		for v := range bytes.SplitSeq(text, []byte{0}) {
			if string(v) == labMark+"="+name {
				command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
				left = append(left, "process "+path+" "+strings.ReplaceAll(string(command), "\x00", " "))
			}
		}
	}
	return left
}

// parseReport reads what `lab run -o json` printed.
func parseReport(t *testing.T, text string) labReport {
	t.Helper()
	var r labReport
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return r
}

func (b labBinary) testRun(t *testing.T) {
	for _, tt := range []struct {
		nodes, pods int
		families    string
		cni         string
		mtu, flows  int
	}{
		{2, 1, "4", "routes", 1400, 2 * 3},
		{2, 1, "6", "vxlan", 9000, 2 * 3},
		{3, 2, "4,6", "bridge", 1500, 6 * 3 * 2},
	} {
		t.Run(fmt.Sprintf("%dx%d IPv%s %s %d", tt.nodes, tt.pods, tt.families, tt.cni, tt.mtu), func(t *testing.T) {
			out, progress := b.run(t, exitOK, "run", "-o", "json", "--name", newLabName(t),
				fmt.Sprintf("--nodes=%d", tt.nodes), fmt.Sprintf("--pods=%d", tt.pods), "--family="+tt.families, "--cni="+tt.cni, fmt.Sprintf("--mtu=%d", tt.mtu))
			r := parseReport(t, out)
			if !r.OK || len(r.Failures) > 0 || len(failedLabFlows(r.Flows)) > 0 {
				t.Errorf("ok %v, failures %q, failed flows %v", r.OK, r.Failures, failedLabFlows(r.Flows))
			}
			if len(r.Flows) != tt.flows || len(r.Nodes) != tt.nodes || r.CNI != tt.cni || r.MTU != tt.mtu {
				t.Errorf("%d flows, %d nodes, %s, MTU %d; want %d, %d, %s and %d", len(r.Flows), len(r.Nodes), r.CNI, r.MTU, tt.flows, tt.nodes, tt.cni, tt.mtu)
			}
			if w := r.Wire; w.PlaintextPodPackets != 0 || w.WireGuardPackets == 0 || w.ControlPlaintextPodPackets == 0 || w.ControlWireGuardPackets != 0 {
				t.Errorf("wire %+v", w)
			}
			keys := map[string]bool{}
			for _, n := range r.Nodes {
				keys[n.PublicKey.String()] = true
				if n.Backend != "userspace" || n.PublicKey.IsZero() {
					t.Errorf("node %+v", n)
				}
			}
			if len(keys) != tt.nodes {
				t.Errorf("%d different keys, want %d", len(keys), tt.nodes)
			}
			if !strings.Contains(progress, "lab: run the flows through wgsteer") {
				t.Errorf("progress does not say what goes on:\n%s", progress)
			}
		})
	}
}

func (b labBinary) testTable(t *testing.T) {
	out, _ := b.run(t, exitOK, "run", "--nodes=2", "--pods=1", "--name", newLabName(t))
	if !strings.HasSuffix(out, "\ndemo: ok\n") {
		t.Errorf("the last line is not \"demo: ok\":\n%s", out)
	}
}

func (b labBinary) testKeep(t *testing.T) {
	name := newLabName(t)
	down := func() { b.run(t, exitOK, "down", "--name", name) }
	out, _ := b.run(t, exitOK, "run", "--nodes=2", "--pods=1", "--keep", "--name", name)
	defer down()
	if !strings.Contains(out, "wgsteer lab down --name "+name+"\n") || !strings.HasSuffix(out, "\ndemo: ok\n") {
		t.Errorf("it does not say how to end it, or does not end with \"demo: ok\":\n%s", out)
	}
	for _, n := range b.status(t, name).Nodes {
		if n.Daemon != "ready" {
			t.Errorf("the daemon of %s is %q, want it ready", n.Name, n.Daemon)
		}
	}
	out, _ = b.run(t, exitFailed, "run", "--name", name)
	if want := "demo: failed: lab " + name + " is up already; end it with `wgsteer lab down --name " + name + "`"; !strings.HasPrefix(lastOf(out), want) {
		t.Errorf("a second lab of the name says %q, want %q", lastOf(out), want)
	}
}

func lastOf(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func (b labBinary) status(t *testing.T, name string) labStatus {
	t.Helper()
	out, _ := b.run(t, exitOK, "status", "-o", "json", "--name", name)
	var s labStatus
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (b labBinary) testUpExecDown(t *testing.T) {
	name := newLabName(t)
	b.run(t, exitOK, "up", "--nodes=2", "--pods=1", "--name", name)
	up := true
	defer func() {
		if up {
			b.run(t, exitOK, "down", "--name", name)
		}
	}()
	s := b.status(t, name)
	for where, namespace := range map[string]string{"node-b": s.Nodes[1].Namespace, "node-a/pod-1": s.Pods[0].Namespace} {
		// The namespace of a name, and the one that a command finds itself in.
		out, _ := b.run(t, exitOK, "exec", "--name", name, where, "--", "stat", "-Lc", "%i", namespace, "/proc/self/ns/net")
		if inodes := strings.Fields(out); len(inodes) != 2 || inodes[0] != inodes[1] {
			t.Errorf("%s: network namespaces %q, want one twice", where, inodes)
		}
	}
	b.run(t, 7, "exec", "--name", name, "node-a", "--", "sh", "-c", "exit 7")
	_, stderr := b.run(t, exitFailed, "exec", "--name", name, "node-a/pod-2", "--", "true")
	if !strings.Contains(stderr, `no node or pod "node-a/pod-2"`) {
		t.Errorf("a pod that is not there: %q", stderr)
	}

	// What runs in the lab ends with it.
	sleeper := exec.Command(b.path, "lab", "exec", "--name", name, "node-a", "--", "sh", "-c", "echo; exec sleep 600")
	lines, err := sleeper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleeper.Process.Kill() }()
	if _, err := lines.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	b.run(t, exitOK, "down", "--name", name)
	up = false
	if err := sleeper.Wait(); err == nil || sleeper.ProcessState.Exited() {
		t.Errorf("a command in the lab ended by itself: %v", err)
	}
}
