package tundev_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/moby/sys/capability"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/tundev"
)

func TestCheck(t *testing.T) {
	privtest.Root(t)
	if err := tundev.Check(); err != nil {
		t.Error(err)
	}
}

// Without the capability both Check and Open say which one is missing.
func TestCheckWithoutCapability(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	runtime.LockOSThread() // and never unlock: capabilities are the thread's
	caps, err := capability.NewPid2(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := caps.Load(); err != nil {
		t.Fatal(err)
	}
	caps.Unset(capability.EFFECTIVE|capability.PERMITTED, capability.CAP_NET_ADMIN)
	if err := caps.Apply(capability.CAPS); err != nil {
		t.Fatal(err)
	}
	_, openErr := tundev.Open(tundev.Options{Name: name})
	for what, err := range map[string]error{"Check": tundev.Check(), "Open": openErr} {
		if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
