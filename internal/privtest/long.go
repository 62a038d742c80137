package privtest

import (
	"os"
	"strings"
	"testing"
)

// Long skips a test that takes minutes, unless WGSTEER_LONG=1 asks for it, as
// make test-long does. That runs what is called TestLong... alone, so that the
// rest does not run twice; a test of another name would never run, and fails.
func Long(t testing.TB) {
	t.Helper()
	if !strings.HasPrefix(t.Name(), "TestLong") {
		t.Fatalf("%s is long, but make test-long runs what is called TestLong... alone", t.Name())
	}
	if os.Getenv("WGSTEER_LONG") != "1" {
		t.Skip("this takes minutes: make test-long runs it (WGSTEER_LONG=1)")
	}
}
