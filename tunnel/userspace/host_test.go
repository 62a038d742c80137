package userspace_test

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for something that takes milliseconds, or the 5 s
// of a repeated handshake, on a machine that is busy with other tests.
const patience = 30 * time.Second

// host is a network namespace: a thread that lives in it runs what is given to
// do. Sockets, links and child processes made there belong to it.
type host struct {
	work chan func()
	tid  int
}

// newHost makes one in a namespace of its own, or with flags 0 in the process's:
// only there a port can be changed through UAPI, because the engine opens the
// socket in whatever thread it is. It is for isolated tests alone: the thread
// ends with the process.
func newHost(t *testing.T, flags int) *host {
	t.Helper()
	h := &host{work: make(chan func())}
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

// enter moves the calling, locked thread into the host's namespace.
func (h *host) enter() error {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", h.tid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}

// echoPort is where every host of a pair answers UDP with the same again.
const echoPort = 7

// serveEcho answers until the test ends.
func (h *host) serveEcho(t *testing.T) {
	t.Helper()
	var c net.PacketConn
	var err error
	h.do(func() { c, err = net.ListenPacket("udp", fmt.Sprintf(":%d", echoPort)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		for buf := make([]byte, 2048); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
}

// dial connects a UDP socket of the host to a host's echo.
func (h *host) dial(t *testing.T, to string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	h.do(func() { c, err = net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(to), echoPort).String()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echo sends once and reports whether the answer comes in time.
func echo(c net.Conn, in time.Duration) bool {
	if _, err := c.Write([]byte("hello")); err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(in))
	n, err := c.Read(make([]byte, 100))
	return err == nil && n == len("hello")
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
