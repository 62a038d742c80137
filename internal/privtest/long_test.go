package privtest_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

func TestLong(t *testing.T) {
	for asked, want := range map[string]bool{"1": true, "": false, "0": false} {
		t.Setenv("WGSTEER_LONG", asked)
		ran := false
		t.Run("one", func(t *testing.T) {
			privtest.Long(t)
			ran = true
		})
		if ran != want {
			t.Errorf("WGSTEER_LONG=%s: ran %v, want %v", asked, ran, want)
		}
	}
}

// TestOthersAreNotLong: what make test-long would not find says so.
func TestOthersAreNotLong(t *testing.T) {
	t.Setenv("WGSTEER_LONG", "1")
	other := &failing{TB: t}
	privtest.Long(other)
	if !other.failed {
		t.Errorf("%s may be long", t.Name())
	}
}

// failing notes a failure instead of failing.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Fatalf(string, ...any) { f.failed = true }
