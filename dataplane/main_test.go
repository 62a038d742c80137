package dataplane_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/wgkey"
)

// These are set in the process that TestMain starts: directories for files
// and for pins.
const (
	inside     = "WGSTEER_TEST_INSIDE"
	insidePins = "WGSTEER_TEST_INSIDE_PINS"
)

// exampleInterface is unique per run: the UAPI sockets' directory is shared.
var exampleInterface = fmt.Sprintf("wgx%d", os.Getpid())

// TestMain runs the whole binary again in a network namespace of its own: a
// data plane works on the namespace of its process. Without root the tests
// that need it are skipped, or all fails where REQUIRE_PRIVILEGED=1.
func TestMain(m *testing.M) {
	flag.Parse()
	switch {
	case os.Getenv(inside) != "":
		os.Exit(m.Run())
	case os.Geteuid() != 0 && os.Getenv("REQUIRE_PRIVILEGED") == "1":
		fmt.Println("REQUIRE_PRIVILEGED=1, but the example needs root")
		os.Exit(1)
	case os.Geteuid() != 0:
		fmt.Println("the example is skipped: it needs root")
		if err := flag.Set("test.skip", "^Example"); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
	os.Exit(again())
}

// again owns what the example writes, so that it goes away however that ends.
func again() int {
	dir, err := os.MkdirTemp("", "wgsteer-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	pins, remove, err := privtest.Pins()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer remove()
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"="+dir, insidePins+"="+pins)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		fmt.Println("start the tests in a network namespace:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// until waits for a condition, at most 30 seconds.
func until(condition func() bool) {
	deadline := time.Now().Add(30 * time.Second)
	for !condition() && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
}

// publicKey makes the public key that belongs to a seed of one byte.
func publicKey(t *testing.T, seed string) wgkey.PublicKey {
	t.Helper()
	k, err := wgkey.NewPrivateKey(strings.NewReader(strings.Repeat(seed, wgkey.Size)))
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}
