// Package privtest lets a test say that it needs root, a bpffs or a network
// namespace of its own: it skips with the reason where that is missing, and
// fails instead where REQUIRE_PRIVILEGED=1 is set. What needs a kernel with WireGuard
// has a switch of its own, because most machines that run tests have none.
//
// It is for tests alone and imports nothing of this module.
package privtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// isolated is set in the process that Isolate starts.
const isolated = "WGSTEER_TEST_ISOLATED"

// Missing skips the test for reason, or fails it where REQUIRE_PRIVILEGED=1.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("REQUIRE_PRIVILEGED") == "1" {
		t.Fatalf("REQUIRE_PRIVILEGED=1, but %s", reason)
	}
	t.Skip(reason)
}

// NoWireGuard skips the test because the kernel has no WireGuard, for the reason
// given, or fails it where REQUIRE_WIREGUARD=1 is set, as internal/vmtest does.
func NoWireGuard(t testing.TB, reason error) {
	t.Helper()
	if os.Getenv("REQUIRE_WIREGUARD") == "1" {
		t.Fatalf("REQUIRE_WIREGUARD=1, but: %v", reason)
	}
	t.Skip(reason)
}

// Root needs user id 0 and /dev/net/tun.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "this test needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		Missing(t, "this test needs /dev/net/tun: "+err.Error())
	}
}

// Tool needs an executable of that name in PATH, or where scripts/setup puts those that
// it does not install.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	cache, err := os.UserCacheDir()
	path = filepath.Join(cache, "wgsteer", "tools", name)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		Missing(t, fmt.Sprintf("this test needs %s (scripts/setup installs it)", name))
	}
	return path
}

// BPFFS returns a fresh directory on the host's bpffs, removed with all its
// pins when the test ends.
func BPFFS(t testing.TB) string {
	t.Helper()
	Root(t)
	dir, remove, err := Pins()
	if err != nil {
		Missing(t, err.Error())
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Errorf("remove pins: %v", err)
		}
	})
	return dir
}

// Isolate runs the calling test (not a subtest) in a process of its own, in a
// new network namespace with loopback up; nothing of it outlives the process.
// It returns true in that process; in the first one it reports the other's
// result and returns false, and the test returns:
//
//	func TestX(t *testing.T) {
//		if !privtest.Isolate(t) {
//			return
//		}
//		...
//	}
func Isolate(t *testing.T) bool {
	t.Helper()
	Root(t)
	if os.Getenv(isolated) == t.Name() {
		if err := loopbackUp(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	args := []string{"-test.run=^" + regexp.QuoteMeta(t.Name()) + "$", "-test.v", "-test.count=1"}
	for _, a := range os.Args[1:] {
		// What shapes the run goes along; what selects, or writes files that there is
		// one of, does not: coverage has a file a process.
		if strings.HasPrefix(a, "-test.timeout=") || strings.HasPrefix(a, "-test.short") || strings.HasPrefix(a, "-test.gocoverdir=") {
			args = append(args, a)
		}
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), isolated+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("in its own network namespace:\n%s", out)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Fatalf("the isolated test failed: %v", err)
	case err != nil:
		t.Fatalf("start the isolated test: %v", err)
	case bytes.Contains(out, []byte("--- SKIP: "+t.Name()+" ")):
		t.Skip("skipped in its own network namespace")
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")):
		t.Fatal("the isolated process ran no test")
	}
	return false
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket to bring up lo: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	return nil
}
