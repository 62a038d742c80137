package netlab_test

import (
	"bufio"
	"fmt"
	"os"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// The test binary plays two further parts, told by its first argument: a lab's
// reaper, and an owner that is there to be killed.
const (
	asReaper = "netlab-test-reaper"
	asOwner  = "netlab-test-owner"
)

func TestMain(m *testing.M) {
	// The reaper is this binary: with the race detector it would sit there for a
	// second before it exits.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	if len(os.Args) < 3 {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case asReaper:
		err = netlab.Reap(os.Args[2], os.Stdin)
	case asOwner:
		err = own(os.Args[2], len(os.Args) > 3)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func reaper() []string { return []string{"/proc/self/exe", asReaper} }

// own brings a lab up, starts a process in it, says so and waits to be killed.
func own(run string, withReaper bool) error {
	o := netlab.Options{Run: run}
	if withReaper {
		o.Reaper = reaper()
	}
	lab, err := netlab.New(o)
	if err != nil {
		return err
	}
	if err := lab.Up(ctx()); err != nil {
		return err
	}
	cmd := lab.Nodes[0].Command(ctx(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Println(cmd.Process.Pid)
	_, err = bufio.NewReader(os.Stdin).ReadByte()
	return fmt.Errorf("was not killed: %w", err)
}
