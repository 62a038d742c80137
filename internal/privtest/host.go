package privtest

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Host is a network namespace: a thread that lives in it runs what is given to
// Do. Sockets, links and child processes made there belong to it. It is used by
// one goroutine at a time.
type Host struct {
	work chan func()
	tid  int
}

// NewHost makes one with loopback up, in a namespace of its own, or with flags 0
// (instead of CLONE_NEWNET) in the process's. When the test ends the thread ends,
// and with it the namespace and the processes that Start started.
func NewHost(t testing.TB, flags int) *Host {
	t.Helper()
	Root(t)
	h := &Host{work: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread is of no other use
		h.tid = unix.Gettid()
		started <- unix.Unshare(flags)
		for f := range h.work {
			f()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { close(h.work) })
	h.Sh(t, "ip link set lo up")
	return h
}

// Do calls f on the host's thread and waits for it.
func (h *Host) Do(f func()) {
	done := make(chan struct{})
	h.work <- func() { defer close(done); f() }
	<-done
}

// Sh runs a shell script in the namespace and returns its output.
func (h *Host) Sh(t testing.TB, script string, args ...any) string {
	t.Helper()
	return h.Feed(t, "", script, args...)
}

// Feed is Sh with something to read.
func (h *Host) Feed(t testing.TB, input, script string, args ...any) string {
	t.Helper()
	var out []byte
	var err error
	h.Do(func() {
		cmd := exec.Command("sh", "-ec", fmt.Sprintf(script, args...))
		cmd.Stdin = strings.NewReader(input)
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprintf(script, args...), err, out)
	}
	return string(out)
}

// Start starts a command in the namespace that dies with the host at the latest.
func (h *Host) Start(cmd *exec.Cmd) (err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	h.Do(func() { err = cmd.Start() })
	return err
}

// PID is what `ip link set DEVICE netns PID` takes.
func (h *Host) PID() int { return h.tid }

// Enter moves the calling, locked thread into the host's namespace.
func (h *Host) Enter() error {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", h.tid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}
