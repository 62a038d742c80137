package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// patience bounds every wait for something that takes milliseconds, or the 5 s of a
// repeated handshake, on a machine that is busy or emulated.
const patience = 60 * time.Second

// needWireGuard skips where the kernel has none: internal/vmtest runs these tests
// on kernels that have it, and there none may be skipped.
func needWireGuard(t *testing.T) {
	t.Helper()
	if err := Probe(); err != nil {
		privtest.NoWireGuard(t, err)
	}
}

// host is a network namespace: a thread that lives in it, for isolated tests alone,
// runs what is given to do. What is opened there belongs to it.
type host struct {
	work chan func()
	tid  int
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{work: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread is of no other use
		h.tid = unix.Gettid()
		started <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range h.work {
			f()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	h.sh(t, "ip link set lo up")
	return h
}

func (h *host) do(f func()) {
	done := make(chan struct{})
	h.work <- func() { defer close(done); f() }
	<-done
}

// sh runs a shell script in the namespace and returns its output.
func (h *host) sh(t *testing.T, script string, args ...any) string {
	t.Helper()
	var out []byte
	var err error
	h.do(func() { out, err = exec.Command("sh", "-ec", fmt.Sprintf(script, args...)).CombinedOutput() })
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprintf(script, args...), err, out)
	}
	return string(out)
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// links are the names of a namespace's links.
func (h *host) links(t *testing.T) string {
	t.Helper()
	return strings.Join(strings.Fields(h.sh(t, "ip -o link | cut -d: -f2")), " ")
}

// TestMain runs a tunnel where the test binary was started to be killed.
func TestMain(m *testing.M) {
	if name := os.Getenv(victim); name != "" {
		os.Exit(runVictim(name))
	}
	os.Exit(m.Run())
}
