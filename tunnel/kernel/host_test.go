package kernel

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// patience bounds every wait for something that takes milliseconds, or the 5 s of a
// repeated handshake, on a machine that is busy or emulated.
const patience = 60 * time.Second

// needWireGuard skips where the kernel has none: internal/vmtest runs these tests
// on kernels that have it, and there none may be skipped.
func needWireGuard(t *testing.T) {
	t.Helper()
	if err := Probe(); err != nil {
		privtest.NoWireGuard(t, err)
	}
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

// links are the names of a namespace's links.
func links(t *testing.T, h *privtest.Host) string {
	t.Helper()
	return strings.Join(strings.Fields(h.Sh(t, "ip -o link | cut -d: -f2")), " ")
}

// TestMain runs a tunnel where the test binary was started to be killed.
func TestMain(m *testing.M) {
	if name := os.Getenv(victim); name != "" {
		os.Exit(runVictim(name))
	}
	os.Exit(m.Run())
}
