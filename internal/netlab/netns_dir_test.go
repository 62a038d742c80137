package netlab_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestIPNetnsBesideALab: the first ip-netns(8) after a boot makes /run/netns a mount, and
// what is up then stays within reach. The boot is a mount namespace with an empty /run.
func TestIPNetnsBesideALab(t *testing.T) {
	privtest.Root(t)
	const booted = "WGSTEER_TEST_EMPTY_RUN"
	if os.Getenv(booted) == "" {
		again := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
			`mount -t tmpfs none /run && exec "$0" "$@"`, os.Args[0], "-test.run=^TestIPNetnsBesideALab$", "-test.v")
		again.Env = append(os.Environ(), booted+"=1")
		out, err := again.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	lab := up(t, netlab.Options{Nodes: 1, Pods: 1})
	if out, err := exec.Command("ip", "netns", "add", "beside").CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	if err := lab.Nodes[0].Do(func() error { return nil }); err != nil {
		t.Error(err)
	}
	if err := lab.Down(); err != nil {
		t.Error(err)
	}
	if found := left(t, lab.Run); len(found) > 0 {
		t.Errorf("left after Down: %v", found)
	}
}
