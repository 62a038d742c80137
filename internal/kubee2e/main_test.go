package kubee2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

const reap = "wgsteer-kubee2e-reap" // the first argument of the reaper process

// built is the wgsteer that is tested: static as the image's, and with the race detector
// if the tests have it.
var built string

func TestMain(m *testing.M) {
	if len(os.Args) >= 3 {
		for name, become := range map[string]func(string) error{
			asHost: beHost, asContainer: beContainer, asExec: beExec,
			reap: func(run string) error { return netlab.Reap(run, os.Stdin) },
		} {
			if os.Args[1] != name {
				continue
			}
			if err := become(os.Args[2]); err != nil {
				fmt.Fprintln(os.Stderr, name+":", err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if built = os.Getenv("WGSTEER_BINARY"); built != "" { // static, built elsewhere
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "wgsteer-kubee2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built = filepath.Join(dir, "wgsteer")
	if err := build(built); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds wgsteer.
func build(to string) error {
	args := []string{"build", "-o", to}
	cgo := "0"
	if race { // which needs cgo
		cgo = "1"
		args = append(args, "-race", "-tags=netgo,osusergo", "-ldflags=-linkmode external -extldflags -static")
	}
	cmd := exec.Command("go", append(args, "./cmd/wgsteer")...)
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build wgsteer: %w\n%s", err, out)
	}
	return nil
}
