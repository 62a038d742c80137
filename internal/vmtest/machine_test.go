package vmtest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/internal/vmtest"
)

// TestMachine: what a guest promises to those who run commands in it, and that
// what goes wrong in there is seen out here.
func TestMachine(t *testing.T) {
	needMachines(t)
	built := build(t, nil)
	for _, kernel := range kernels {
		t.Run(kernel.pkg, func(t *testing.T) {
			m := machine(t, built, kernel.pkg)
			data := filepath.Join(t.TempDir(), "data")
			if err := os.WriteFile(data, []byte("from outside\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			m.Files["/data/file"] = data
			tests := []struct {
				name    string
				command vmtest.Command
				want    vmtest.Ended
				output  string
				files   map[string][]byte
			}{
				{"output and exit status", sh("echo out; echo err >&2; exit 7"), vmtest.Ended{Exit: 7}, "out\nerr\n", nil},
				{"bytes arrive as they are", sh(`printf '\r\n\003\004\000\377|'`), vmtest.Ended{}, "\r\n\x03\x04\x00\xff|", nil},
				{"a signal", sh("kill -9 $$"), vmtest.Ended{Exit: -1}, "", nil},
				{"not there", vmtest.Command{Args: []string{"/none"}}, vmtest.Ended{Exit: -1, Problem: "fork/exec /none: no such file or directory"}, "", nil},
				{"too long, with a child", timed(sh("echo began; (while :; do :; done) & while :; do :; done"), time.Second),
					vmtest.Ended{Exit: -1, Problem: "killed after 1s"}, "began\n", nil},
				{"directory, environment, files in and out", vmtest.Command{
					Args: []string{"/usr/bin/sh", "-c", `read -r line <file; echo "$line $KEY" >/tmp/result`},
					Dir:  "/data", Env: []string{"KEY=value"}, Collect: []string{"/tmp/result", "/tmp/none"},
				}, vmtest.Ended{}, "", map[string][]byte{"/tmp/result": []byte("from outside value\n")}},
				{"orphans are reaped", sh(`(sh -c 'echo $$ >/tmp/orphan' &); while ! read -r pid </tmp/orphan || [ -d /proc/$pid ]; do :; done 2>/dev/null`), vmtest.Ended{}, "", nil},
				{"devices by the kernel's own request", sh("set -e; ip link add v0 type vxlan id 1 dstport 4789; ip link add d0 type dummy; ip link add b0 type bond; ip link add link d0 name d0.5 type vlan id 5"),
					vmtest.Ended{}, "", nil},
				{"tables too", sh("nft add table inet t && nft add chain inet t c '{ type filter hook forward priority 0; }' && nft add rule inet t c ct state established accept"),
					vmtest.Ended{}, "", nil},
				{"a bpffs and a TUN", sh("mkdir /sys/fs/bpf/x && ip tuntap add t0 mode tun"), vmtest.Ended{}, "", nil},
			}
			var commands []vmtest.Command
			for _, tt := range tests {
				commands = append(commands, tt.command)
			}
			report := run(t, m, commands)
			t.Logf("%s was up after %v", report.Release, report.Boot.Round(10*time.Millisecond))
			for i, tt := range tests {
				got := report.Results[i]
				if got.Ended != tt.want || string(got.Output) != tt.output {
					t.Errorf("%s: got %+v, %q, want %+v, %q", tt.name, got.Ended, got.Output, tt.want, tt.output)
				}
				if diff := cmp.Diff(tt.files, got.Files); diff != "" && len(tt.files)+len(got.Files) > 0 {
					t.Errorf("%s: files (-want +got):\n%s", tt.name, diff)
				}
			}
		})
	}
}

// TestMachineBreaks: a machine that does not come to its end is an error.
func TestMachineBreaks(t *testing.T) {
	needMachines(t)
	m := machine(t, build(t, nil), kernels[0].pkg)
	for _, tt := range []struct {
		name    string
		change  func(m *vmtest.Machine)
		command vmtest.Command
		want    string
	}{
		{"the kernel panics", nil, sh("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger"), "Kernel panic"},
		{"a module is not there", func(m *vmtest.Machine) { m.Load = []string{"flux"} }, sh(""), "has no module flux"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := m
			if tt.change != nil {
				tt.change(&broken)
			}
			_, err := broken.Run(t.Context(), []vmtest.Command{tt.command})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	t.Run("it is stopped", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := m.Run(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline exceeded", err)
		}
	})
}

func sh(script string) vmtest.Command {
	return vmtest.Command{Args: []string{"/usr/bin/sh", "-c", script}, Timeout: time.Minute}
}

func timed(c vmtest.Command, timeout time.Duration) vmtest.Command {
	c.Timeout = timeout
	return c
}
