package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be wgsteer: sessions, and tests that start
// processes, find it in PATH.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"wgsteer": main, "udpecho": udpEcho})
}

// TestSessions plays what a user types, and compares what is answered.
func TestSessions(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/session",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			text := fmt.Sprintf("interface: wgs0\nclusterCIDRs: [10.244.0.0/16]\nstateDir: %[1]s/state\nrunDir: %[1]s/run\nbpffs: /sys/fs/bpf/wgsteer-test-%[2]d-session\nsource: {directory: %[1]s/nodes}\n", env.WorkDir, os.Getpid())
			return os.WriteFile(filepath.Join(env.WorkDir, "config.yaml"), []byte(text), 0o600)
		},
		Condition: func(condition string) (bool, error) {
			if condition == "privileged" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", condition)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exitcode": exitCode},
	})
}

// exitCode is a script's command: exitcode 2 wgsteer run ...
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
