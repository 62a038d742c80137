package interop_test

import (
	"crypto/rand"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// only names the one implementation that a run is about; then it may not be
// missing. Empty is all that there are.
var only = os.Getenv("WGSTEER_INTEROP")

// builtAt is the variable that tells the processes of isolated tests where
// wireguard-go is.
const builtAt = "WGSTEER_INTEROP_WIREGUARD_GO"

// wireguardGo is the path of the built binary, and its version.
var wireguardGo, wireguardGoVersion string

// run makes the names of links, and so of sockets that the host's namespaces
// share, unique to this process.
var run = func() string {
	b := make([]byte, 2)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}()

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	unix.Umask(0o077) // as under wg-quick(8); keys go through files
	if only == kernelName {
		return m.Run() // where there is no Go
	}
	if wireguardGo = os.Getenv(builtAt); wireguardGo == "" {
		dir, err := os.MkdirTemp("", "wgsteer-interop-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		wireguardGo = filepath.Join(dir, "wireguard-go")
		os.Setenv(builtAt, wireguardGo)
		// The module and version that go.mod names, its own main package, no change.
		if out, err := exec.Command("go", "build", "-o", wireguardGo, "golang.zx2c4.com/wireguard").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build wireguard-go: %v\n%s", err, out)
			return 1
		}
	}
	info, err := buildinfo.ReadFile(wireguardGo)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	wireguardGoVersion = info.Main.Path + " " + info.Main.Version
	return m.Run()
}
