package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// plain and checked are the built wgsteer; the latter has the race detector, if
// the tests have it, and is many times slower. builds is the directory they are in,
// "" where they were not built here.
var plain, checked, builds string

const reap = "wgsteer-e2e-reap" // the first argument of the reaper process

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == reap {
		if err := netlab.Reap(os.Args[2], os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if built := os.Getenv("WGSTEER_BINARY"); built != "" { // where there is no Go, as in internal/vmtest's machines
		plain, checked = built, built
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "wgsteer-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	builds = dir
	plain = filepath.Join(dir, "wgsteer")
	checked = plain
	err = build(plain)
	if race && err == nil {
		checked += "-race"
		err = build(checked, "-race")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds wgsteer.
func build(binary string, flags ...string) error {
	args := append([]string{"build", "-o", binary}, flags...)
	if out, err := exec.Command("go", append(args, "../../cmd/wgsteer")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build wgsteer: %w\n%s", err, out)
	}
	return nil
}
