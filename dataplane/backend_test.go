package dataplane

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/file"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/kernel"
)

func TestChoose(t *testing.T) {
	none := &kernel.Unavailable{Reason: "this kernel has no WireGuard", Mend: "modprobe wireguard", Err: unix.EOPNOTSUPP}
	odd := fmt.Errorf("one\n%w", errors.New("two"))
	for _, tc := range []struct {
		configured Backend
		probed     error
		chosen     Backend
		reason     string
		err        string
	}{
		{Userspace, nil, Userspace, "configured", ""},
		{Kernel, nil, Kernel, "configured", ""},
		{Kernel, none, "", "", "backend: kernel: make a kernel WireGuard link: this kernel has no WireGuard (operation not supported); modprobe wireguard"},
		{Auto, nil, Kernel, "auto: the kernel has WireGuard", ""},
		{Auto, none, Userspace, "auto: this kernel has no WireGuard (operation not supported)", ""},
		{Auto, odd, Userspace, "auto: one; two", ""},
	} {
		chosen, reason, err := choose(tc.configured, tc.probed)
		if chosen != tc.chosen || reason != tc.reason || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
			t.Errorf("%s, %v: %q, %q, %v", tc.configured, tc.probed, chosen, reason, err)
		}
	}
}

// TestChooseBackend: what is not configured is not looked for, and a choice agrees
// with what can be made.
func TestChooseBackend(t *testing.T) {
	if chosen, _, err := ChooseBackend(Userspace); chosen != Userspace || err != nil {
		t.Errorf("userspace: %s, %v", chosen, err)
	}
	want := Kernel
	if kernel.Probe() != nil {
		want = Userspace
	}
	if chosen, reason, err := ChooseBackend(Auto); chosen != want || !strings.HasPrefix(reason, "auto: ") || err != nil {
		t.Errorf("auto: %s, %q, %v; want %s", chosen, reason, err, want)
	}
	if _, _, err := ChooseBackend(Kernel); (err == nil) != (want == Kernel) {
		t.Errorf("kernel: %v", err)
	}
}

// TestBackendIsChosenInSight: the choice and its reason are in the log and in the status.
func TestBackendIsChosenInSight(t *testing.T) {
	var log strings.Builder
	d, err := New(Config{Node: "node-a", ClusterCIDRs: pfx("10.244.0.0/16"), Source: file.New(file.Options{}),
		Backend: Auto, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if s := d.Status(); s.Backend != Auto || s.BackendReason != "" {
		t.Errorf("before the choice: %s, %q", s.Backend, s.BackendReason)
	}
	r := newReconciler(d, d.view.Load().config)
	if err := r.chooseBackend(); err != nil {
		t.Fatal(err)
	}
	s := d.Status()
	if want := fmt.Sprintf("msg=backend node=node-a backend=%s reason=%q", s.Backend, s.BackendReason); s.Backend == Auto || !strings.Contains(log.String(), want) {
		t.Errorf("backend %s; the log is %q, want %q in it", s.Backend, log.String(), want)
	}
}

// TestTunnelNote: what the tunnel notes is a warning, and no failure.
func TestTunnelNote(t *testing.T) {
	d, err := New(Config{Node: "node-a", ClusterCIDRs: pfx("10.244.0.0/16"), Source: file.New(file.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	v := *d.view.Load()
	v.state, v.tunnel = Ready, noted{}
	d.view.Store(&v)
	s := d.Status()
	want := []keymgr.Problem{{Node: "node-a", Record: DefaultInterface, Message: "it may fail", Warning: true}}
	if diff := cmp.Diff(want, s.Problems); diff != "" || s.State != Ready {
		t.Errorf("%s; problems (-want +got):\n%s", s.State, diff)
	}
}

type noted struct{ tunnel.Tunnel }

func (noted) Stats() (tunnel.Stats, error) { return tunnel.Stats{Note: "it may fail"}, nil }

// TestBackendIsTold: a node's record says what runs its tunnel, and why, in one line.
func TestBackendIsTold(t *testing.T) {
	long := strings.Repeat("é", keymgr.MaxReason)
	for _, tc := range []struct {
		backend      Backend
		reason, told string
	}{
		{"", "", ""},
		{Userspace, "auto: no\n\tmodule ", "auto: no module"},
		{Kernel, "configured", "configured"},
		{Userspace, "x" + long, "x" + long[:keymgr.MaxReason-2]},
	} {
		p := makePlan(config(), key(t, "a"), facts{backend: tc.backend, backendReason: tc.reason}, nil)
		if p.self.Backend != string(tc.backend) || p.self.BackendReason != tc.told {
			t.Errorf("%q, %q is told as %q, %q", tc.backend, tc.reason, p.self.Backend, p.self.BackendReason)
		}
	}
}
