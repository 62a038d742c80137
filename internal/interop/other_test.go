package interop_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
)

const kernelName = "kernel"

// implementation is a WireGuard that is not ours. wg(8) configures it.
type implementation struct {
	name string
	// links is how many of it one machine bears.
	links   int
	version func(t *testing.T) string
	// start makes links, which stay until the test ends.
	start func(t *testing.T, h *privtest.Host, names ...string)
	// missing is why it cannot be had here, or nil.
	missing func(h *privtest.Host) error
}

var implementations = []implementation{
	{"wireguard-go", 10, versionOfGo, startGo, func(*privtest.Host) error { return nil }},
	{kernelName, 1000, versionOfKernel, startKernel, missingKernel},
}

// others runs f as a subtest for each implementation, and prints which that is.
func others(t *testing.T, f func(t *testing.T, other implementation)) {
	privtest.Root(t)
	privtest.Tool(t, "wg")
	for _, other := range implementations {
		if only != "" && only != other.name {
			continue
		}
		t.Run(other.name, func(t *testing.T) {
			if err := other.missing(privtest.NewHost(t, syscall.CLONE_NEWNET)); err != nil {
				if only == "" {
					t.Skipf("%v; make test-vm runs it on kernels that have it", err)
				}
				t.Fatal(err)
			}
			t.Log("other end: " + other.version(t))
			f(t, other)
		})
	}
}

func versionOfGo(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(wireguardGo, "--version").Output()
	if err != nil {
		t.Fatalf("ask wireguard-go for its version: %v", err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first + " (" + wireguardGoVersion + ")"
}

func startGo(t *testing.T, h *privtest.Host, names ...string) {
	t.Helper()
	for _, n := range names {
		startOneGo(t, h, n)
	}
}

// startOneGo starts the stock binary and waits for its socket for wg(8).
func startOneGo(t *testing.T, h *privtest.Host, name string) {
	t.Helper()
	var log strings.Builder
	cmd := exec.Command(wireguardGo, "--foreground", name)
	cmd.Stdout, cmd.Stderr = &log, &log // read after Wait alone
	if err := h.Start(cmd); err != nil {
		t.Fatalf("start wireguard-go: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it removes its socket
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("wireguard-go %s:\n%s", name, log.String())
		}
	})
	until(t, "UAPI socket of wireguard-go", func() bool {
		c, err := net.Dial("unix", userspace.DefaultUAPIDir+"/"+name+".sock")
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	h.Sh(t, "ip link set %s up", name)
}

func versionOfKernel(t *testing.T) string {
	t.Helper()
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	version := "built in"
	if v, err := os.ReadFile("/sys/module/wireguard/version"); err == nil {
		version = strings.TrimSpace(string(v))
	}
	return fmt.Sprintf("kernel module wireguard %s, Linux %s", version, strings.TrimSpace(string(release)))
}

// startKernel makes links that go with their namespace.
func startKernel(t *testing.T, h *privtest.Host, names ...string) {
	t.Helper()
	var batch strings.Builder
	for _, n := range names {
		fmt.Fprintf(&batch, "link add %s type wireguard\nlink set %s up\n", n, n)
	}
	h.Feed(t, batch.String(), "ip -batch -")
}

// missingKernel tries.
func missingKernel(h *privtest.Host) (err error) {
	var out []byte
	h.Do(func() { out, err = exec.Command("ip", "link", "add", "wg-try", "type", "wireguard").CombinedOutput() })
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("this kernel makes no WireGuard link: %s", strings.TrimSpace(string(out)))
	}
	return err
}
