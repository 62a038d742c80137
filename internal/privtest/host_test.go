package privtest_test

import (
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestHost: a host is a namespace of its own, in which sockets and processes
// live, and which a thread can enter.
func TestHost(t *testing.T) {
	a, b := privtest.NewHost(t, syscall.CLONE_NEWNET), privtest.NewHost(t, syscall.CLONE_NEWNET)
	a.Sh(t, "ip link add eth0 type veth peer name eth1 netns %d", b.PID())
	for h, want := range map[*privtest.Host]string{a: "eth0", b: "eth1"} {
		var ifs []net.Interface
		var err error
		h.Do(func() { ifs, err = net.Interfaces() })
		if err != nil || len(ifs) != 2 || ifs[0].Flags&net.FlagUp == 0 || ifs[1].Name != want {
			t.Errorf("%v, %v; want lo, up, and %s", ifs, err, want)
		}
	}
	if out := b.Feed(t, "link show eth1\n", "ip -batch -"); !strings.Contains(out, "eth1@") {
		t.Errorf("ip on the other host: %s", out)
	}
	var out []byte
	var err error
	privtest.NewHost(t, 0).Do(func() {
		if err = b.Enter(); err == nil {
			out, err = exec.Command("ip", "-brief", "link").Output()
		}
	})
	if err != nil || !strings.Contains(string(out), "eth1@") {
		t.Errorf("a thread that entered it sees %s, %v", out, err)
	}
}

// TestHostTakesItsProcesses with it when the test ends.
func TestHostTakesItsProcesses(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	t.Run("inner", func(t *testing.T) {
		if err := privtest.NewHost(t, syscall.CLONE_NEWNET).Start(cmd); err != nil {
			t.Fatal(err)
		}
	})
	if cmd.Process == nil {
		t.Skip("the inner test was skipped")
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("sleep ended with %v", err)
	}
}
