package steering_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/steering"
)

// run has s follow the network until the test ends.
func run(t *testing.T, s *steering.Steering) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// devices are those that are steered, by name.
func devices(s *steering.Steering) string {
	var names []string
	for _, d := range s.Status().Devices {
		if d.Error != "" {
			d.Name += " (" + d.Error + ")"
		}
		names = append(names, d.Name)
	}
	return strings.Join(names, " ")
}

func wantDevices(t *testing.T, s *steering.Steering, want string) {
	t.Helper()
	eventually(t, func() string {
		if got := devices(s); got != want {
			return fmt.Sprintf("steered are %q, want %q", got, want)
		}
		return ""
	})
}

// TestFollow: devices are steered as they come, and no longer as they go. Strict
// lets go of none that is there.
func TestFollow(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		o.VerifyEvery = time.Hour // only events
		tun, index := openTUN(t, o.Name)
		s := start(t, o)
		run(t, s)
		apply(t, s, steered(index))
		wantDevices(t, s, "eth0")

		veth(t, "eth1", n.world, "198.51.100.1/24")
		inside(t, n.world, func() { addAddr(t, "eth1", "198.51.100.2/24") })
		route := addRoute(t, "10.244.2.0/24", "198.51.100.2")
		wantDevices(t, s, "eth0 eth1")
		before := s.Status()
		send(t, n.pod, podAddr, peerPod, "by the new one")
		grew(t, s, before, "egress", "encrypt", "to_remote_pod")
		expect(t, tun, "by the new one")

		removeRoute(t, route)
		eth1 := byName(t, "eth1")
		apply(t, s, steered(index))
		wantDevices(t, s, "eth0 eth1")
		if left := attachedTo(t, eth1.Attrs().Index); left == 0 {
			t.Error("strict let go of eth1")
		}
		permissive := steered(index)
		permissive.Strict = false
		apply(t, s, permissive)
		wantDevices(t, s, "eth0")
		if left := attachedTo(t, eth1.Attrs().Index); left != 0 {
			t.Errorf("%d programs are left on eth1, which leads nowhere", left)
		}
		apply(t, s, steered(index))
		addRoute(t, "10.244.2.0/24", "198.51.100.2")
		wantDevices(t, s, "eth0 eth1")
		if err := netlink.LinkDel(eth1); err != nil {
			t.Fatal(err)
		}
		wantDevices(t, s, "eth0")
		if _, err := os.Stat(filepath.Join(o.BPFFS, o.Name, "links", fmt.Sprintf("%d-egress-guard", eth1.Attrs().Index))); !os.IsNotExist(err) {
			t.Errorf("the pin of a device that is gone: %v", err)
		}

		overlay := &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "flannel.1"}, VxlanId: 1, Port: 8472}
		if err := netlink.LinkAdd(overlay); err != nil {
			t.Fatal(err)
		}
		wantDevices(t, s, "eth0 flannel.1")
		if err := netlink.LinkDel(overlay); err != nil {
			t.Fatal(err)
		}
		wantDevices(t, s, "eth0")

		named := steered(index)
		named.Devices = []string{"eth7"}
		apply(t, s, named)
		wantDevices(t, s, "eth0 eth7 (no such device yet)")
		if why := s.Status().Failing; !strings.Contains(why, "eth7: no such device yet") {
			t.Errorf("failing: %q", why)
		}
		veth(t, "eth7", n.world)
		wantDevices(t, s, "eth7")
		if why := s.Status().Failing; why != "" {
			t.Errorf("failing: %q", why)
		}
	})
}

// attachedTo is how many programs a device has, by either mechanism.
func attachedTo(t *testing.T, index int) int {
	t.Helper()
	count := 0
	for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		if !hasTCX() {
			break
		}
		chain, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: at})
		if err != nil {
			t.Fatal(err)
		}
		count += len(chain.Programs)
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := netlink.FilterList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}, parent)
		if err != nil {
			t.Fatal(err)
		}
		count += len(filters)
	}
	return count
}

func TestDiscover(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		veth(t, "eth1", n.world, "198.51.100.1/24")
		for _, test := range []struct {
			endpoint string
			named    []string
			want     string
		}{
			{"", nil, "eth0"},
			{"192.0.2.7", nil, "eth0"},
			{"198.51.100.7", nil, "eth0 eth1"},
			{"", []string{"eth1"}, "eth1"},
		} {
			s := guard()
			var endpoints = s.LocalNodeIPs[:0]
			if test.endpoint != "" {
				endpoints = append(endpoints, mustAddr(test.endpoint))
			}
			facts, err := steering.Discover(endpoints, test.named)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, d := range facts.Uplinks {
				names = append(names, d.Name)
				if d.MTU != 1500 || d.Kind != "veth" || d.Index == 0 || d.Reason == "" {
					t.Errorf("incomplete: %+v", d)
				}
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("endpoint %q, named %v: %q, want %q", test.endpoint, test.named, got, test.want)
			}
			if got := fmt.Sprint(facts.DefaultAddresses); got != "[192.0.2.1 2001:db8::1]" {
				t.Errorf("default addresses %s", got)
			}
		}
	})
}

// TestCheck: on a host that can, nothing fails; who is ahead of ours is named.
func TestCheck(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		levels := func() map[string]steering.Level {
			worst := map[string]steering.Level{}
			for _, f := range steering.Check(o) {
				if f.Level == steering.Fail || worst[f.Name] == "" || f.Level == steering.Warn {
					worst[f.Name] = f.Level
				}
				if f.Detail == "" || f.Level != steering.OK && f.Mend == "" {
					t.Errorf("incomplete: %+v", f)
				}
			}
			return worst
		}
		for _, name := range []string{"kernel", "capabilities", "bpffs", "bpf", "tcx", "forwarding", "devices"} {
			want := steering.OK
			if name == "tcx" && !hasTCX() {
				want = steering.Warn
			}
			if got := levels()[name]; got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		_, index := openTUN(t, o.Name)
		apply(t, start(t, o), steered(index))
		if got, found := levels()["foreign-programs"]; found {
			t.Errorf("nobody is ahead of ours: %q", got)
		}
		if hasTCX() {
			attachForeign(t, byName(t, "eth0").Attrs().Index, returns(-1), "tcx")
			var text string
			for _, f := range steering.Check(o) {
				if f.Name == "foreign-programs" {
					text += f.Detail
				}
			}
			wantText(t, text, "on the egress of eth0, ahead of ours: foreigner")
		}

		write(t, "/proc/sys/net/ipv4/ip_forward", "0")
		defaults, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range defaults {
			if ones, _ := r.Dst.Mask.Size(); ones == 0 {
				removeRoute(t, &r)
			}
		}
		bad := o
		bad.BPFFS, bad.Name = t.TempDir(), "wgt9"
		o = bad
		got := levels()
		if got["bpffs"] != steering.Fail || got["forwarding"] != steering.Warn || got["devices"] != steering.Warn {
			t.Errorf("no bpffs, no forwarding, no uplink: %v", got)
		}
	})
}

// attachForeign puts a program of somebody else's ahead of all others.
func attachForeign(t *testing.T, device int, chain asm.Instructions, by string) {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreigner", Type: ebpf.SchedCLS, License: "MIT", Instructions: chain})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if by == "tcx" {
		l, err := link.AttachTCX(link.TCXOptions{Interface: device, Program: program, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return
	}
	attrs := netlink.QdiscAttrs{LinkIndex: device, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	if err := netlink.QdiscAdd(&netlink.GenericQdisc{QdiscAttrs: attrs, QdiscType: "clsact"}); err != nil {
		t.Fatal(err)
	}
	addForeignFilter(t, device, netlink.HANDLE_MIN_EGRESS, program)
}

// addForeignFilter puts somebody else's filter ahead of all others on the clsact qdisc.
func addForeignFilter(t *testing.T, device int, parent uint32, program *ebpf.Program) (remove func()) {
	t.Helper()
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: device, Parent: parent, Priority: 1, Protocol: unix.ETH_P_ALL},
		Fd:          program.FD(), Name: "foreigner", DirectAction: true,
	}
	if err := netlink.FilterAdd(filter); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		filters, err := netlink.FilterList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: device}}, parent)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range filters {
			if b, ok := f.(*netlink.BpfFilter); ok && b.Name == filter.Name {
				if err := netlink.FilterDel(b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestFirst: a program that was there before, and accepts every packet, does not
// keep them from ours; and it is there afterwards.
func TestFirst(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		mechanism := map[bool]string{false: "tcx", true: "clsact"}[byClsact(o)]
		eth0 := byName(t, "eth0").Attrs().Index
		attachForeign(t, eth0, returns(0), mechanism)
		tun, index := openTUN(t, o.Name)
		s := start(t, o)
		apply(t, s, steered(index))
		defer removeRoute(t, addRoute(t, "10.244.2.0/24", "192.0.2.2"))
		send(t, n.pod, podAddr, peerPod, "steered")
		expect(t, tun, "steered")
		for _, f := range steering.Check(o) {
			if f.Name == "foreign-programs" {
				t.Errorf("ours is ahead: %+v", f)
			}
		}
		if _, err := steering.Teardown(o); err == nil {
			t.Error("teardown beside a running process")
		}
		stop(t, s)
		if _, err := steering.Teardown(o); err != nil {
			t.Fatal(err)
		}
		if got := attachedTo(t, eth0); got != 1 {
			t.Errorf("%d programs are left, want the other's", got)
		}
	})
}

// TestCheckOptions: options that cannot be are a finding.
func TestCheckOptions(t *testing.T) {
	found := steering.Check(steering.Options{})
	if len(found) != 1 || found[0].Level != steering.Fail {
		t.Errorf("got %+v", found)
	}
}

// TestKilled: the process ends without a word, and the pod reaches nobody.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(childPins); dir != "" {
		applyAndWait(t, dir)
		return
	}
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		child := startChild(t, o)
		end := leakTest(t, n, o)
		child.kill(t)
		eventually(t, func() string {
			if _, err := netlink.LinkByName(o.Name); err != nil {
				return ""
			}
			return "the tunnel device of a killed process is still there"
		})
		s := start(t, o)
		apply(t, s, guard())
		before := s.Status()
		grew(t, s, before, "egress", "drop", "no_tunnel") // the peer is remembered
		stop(t, s)
		end()
	})
}
