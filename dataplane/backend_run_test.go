package dataplane_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/kernel"
)

// TestKernelBackend: where the kernel has WireGuard, its link outlives Run, is adopted
// by the next one and makes room for userspace. Where it has none, Run says so with
// the guard up. internal/vmtest has kernels that have it.
func TestKernelBackend(t *testing.T) {
	c := config(t)
	c.Backend = dataplane.Kernel
	record(t, c, "node-b", "b", "10.244.2.0/24")
	if kernel.Probe() != nil {
		testNoKernelBackend(t, c)
		return
	}
	t.Cleanup(func() {
		if _, err := kernel.Remove(c.Interface); err != nil {
			t.Error(err)
		}
	})
	var links []int
	for range 2 {
		t.Run("run", func(t *testing.T) {
			s := wait(t, run(t, c), "node-b", func(s dataplane.Status) bool { return s.State == dataplane.Ready && len(s.Peers) == 1 })
			if s.Backend != dataplane.Kernel || s.BackendReason != "configured" || len(s.Tunnel.Peers) != 1 {
				t.Errorf("backend %s, %q; %d peers in the tunnel", s.Backend, s.BackendReason, len(s.Tunnel.Peers))
			}
		})
		link, up, err := kernel.Find(c.Interface)
		if err != nil || !up {
			t.Fatalf("after Run: link %+v, up %v, %v", link, up, err)
		}
		links = append(links, link.Index)
	}
	if links[0] != links[1] {
		t.Errorf("the second Run made another link: %v", links)
	}
	c.Backend = dataplane.Userspace
	t.Run("userspace", func(t *testing.T) {
		s := wait(t, run(t, c), "node-b", func(s dataplane.Status) bool { return s.Ready && len(s.Peers) == 1 })
		if link, _, err := kernel.Find(c.Interface); s.Backend != dataplane.Userspace || err != nil || link != (tunnel.Link{}) {
			t.Errorf("backend %s, link %+v, %v", s.Backend, link, err)
		}
	})
}

func testNoKernelBackend(t *testing.T, c dataplane.Config) {
	d, err := dataplane.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err = d.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "this kernel has no WireGuard") {
		t.Errorf("Run: %v", err)
	}
	if pins, _ := filepath.Glob(filepath.Join(c.BPFFS, c.Interface, "maps", "*")); len(pins) == 0 {
		t.Error("there is no guard")
	}
	c.Backend = dataplane.Auto
	s := wait(t, run(t, c), "ready", ready)
	if s.Backend != dataplane.Userspace || !strings.HasPrefix(s.BackendReason, "auto: this kernel has no WireGuard") {
		t.Errorf("auto: %s, %q", s.Backend, s.BackendReason)
	}
}
