package tundev_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/tundev"
)

// elsewhere is a process in a network namespace of its own, which lives until
// the test ends.
type elsewhere int

func newElsewhere(t *testing.T) elsewhere {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return elsewhere(cmd.Process.Pid)
}

func (e elsewhere) String() string { return strconv.Itoa(int(e)) }

// ip runs ip(8) there.
func (e elsewhere) ip(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"--target", e.String(), "--net", "ip"}, args...)
	if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
		t.Fatalf("nsenter %v: %v\n%s", args, err, out)
	}
}

func TestMovedLink(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, err := tundev.Open(tundev.Options{Name: name, Movable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	queue, err := link.Queue()
	if err != nil {
		t.Fatal(err)
	}
	up := func(want bool) {
		t.Helper()
		if got, err := link.AwaitUp(0); got != want || err != nil {
			t.Errorf("up: %v, %v; want %v", got, err, want)
		}
	}
	before, err := link.Link()
	if err != nil {
		t.Fatal(err)
	}
	up(false)
	ip(t, "link", "set", name, "up")
	up(true)

	there := newElsewhere(t)
	// Its index is taken there, and another link takes its place here.
	there.ip(t, "link", "add", "other", "index", fmt.Sprint(before.Index), "type", "bridge")
	ip(t, "link", "set", name, "netns", there.String())
	ip(t, "link", "add", name, "index", fmt.Sprint(before.Index), "mtu", "1333", "type", "bridge")
	up(false) // the kernel sets down what it moves
	there.ip(t, "link", "set", name, "name", "moved")
	there.ip(t, "link", "set", "moved", "mtu", "1300")
	if err := link.Refresh(); !errors.Is(err, tundev.ErrDown) {
		t.Errorf("Refresh: %v", err)
	}
	expectMTU(t, queue, 1300)
	if got, err := link.Link(); err != nil || got.Name != "moved" || got.Index == before.Index || got.MTU != 1300 {
		t.Errorf("link %+v, %v; before %+v", got, err, before)
	}

	waited := make(chan bool)
	go func() { is, _ := link.AwaitUp(patience); waited <- is }()
	there.ip(t, "link", "set", "moved", "up")
	select {
	case is := <-waited:
		if !is {
			t.Error("not up")
		}
	case <-time.After(patience / 2):
		t.Error("nobody is woken when the link comes up")
	}
	third := newElsewhere(t)
	there.ip(t, "link", "set", "moved", "netns", third.String())
	if err := link.Refresh(); !errors.Is(err, tundev.ErrDown) {
		t.Errorf("Refresh after the second move: %v", err)
	}
	ip(t, "link", "delete", name) // not ours: a name says nothing
	if err := link.Refresh(); !errors.Is(err, tundev.ErrDown) {
		t.Errorf("Refresh after a stranger of that name is gone: %v", err)
	}
}

func TestMovedLinkDeleted(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, err := tundev.Open(tundev.Options{Name: name, Movable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	there := newElsewhere(t)
	ip(t, "link", "set", name, "netns", there.String())
	there.ip(t, "link", "delete", name)
	if up, err := link.AwaitUp(0); up || !errors.Is(err, tundev.ErrGone) {
		t.Errorf("AwaitUp: %v, %v", up, err)
	}
	if err := link.Refresh(); !errors.Is(err, tundev.ErrGone) {
		t.Errorf("Refresh: %v", err)
	}
	select {
	case <-link.Gone():
	default:
		t.Error("not gone")
	}
}

// Steering knows the link by its index: one that is moved away is lost to it.
func TestMovedLinkOfSteering(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, _ := open(t)
	ip(t, "link", "set", name, "netns", newElsewhere(t).String())
	if err := link.Refresh(); !errors.Is(err, tundev.ErrGone) {
		t.Errorf("Refresh: %v", err)
	}
}
