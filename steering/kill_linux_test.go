package steering_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/wgsteer/wgsteer/steering"
)

// childPins tells the child of TestKilled where to pin; childForce which way.
const (
	childPins  = "WGSTEER_TEST_PINS"
	childForce = "WGSTEER_TEST_CLSACT"
	childReady = "steered"
)

// child is a process that steers, and waits to be killed.
type child struct{ cmd *exec.Cmd }

// startChild returns when the child has applied its state.
func startChild(t *testing.T, o steering.Options) child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-test.v")
	cmd.Env = append(os.Environ(), childPins+"="+o.BPFFS, fmt.Sprintf("%s=%v", childForce, o.ForceClsact))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() }) // twice is no harm
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == childReady {
			return child{cmd}
		}
		t.Log(lines.Text())
	}
	t.Fatal("the child ended before it steered")
	return child{}
}

func (c child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.cmd.Wait() // says "killed"
}

// applyAndWait is what the child does.
func applyAndWait(t *testing.T, pins string) {
	o := steering.Options{BPFFS: pins, Name: "wgt0", ForceClsact: os.Getenv(childForce) == "true"}
	_, index := openTUN(t, o.Name)
	apply(t, start(t, o), steered(index))
	fmt.Println(childReady)
	select {}
}

// returns is a program that says the same of every packet: -1 leaves it to those
// behind, 0 accepts it for all of them.
func returns(action int32) asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, action), asm.Return()}
}

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }
