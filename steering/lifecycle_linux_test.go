package steering_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/steering"
)

// leakTest sends from the pod to the peer's pod without pause, by a CNI's route.
// Its end says whether one packet left in plaintext.
func leakTest(t *testing.T, n node, o steering.Options) (end func()) {
	t.Helper()
	plain := listen(t, n.world, peerPod)
	route := addRoute(t, "10.244.2.0/24", "192.0.2.2")
	stop, sent := make(chan struct{}), make(chan int)
	go func() {
		runtime.LockOSThread()
		count := 0
		defer func() { sent <- count }()
		if err := netns.Set(n.pod); err != nil {
			t.Error(err)
			return
		}
		conn, err := net.Dial("udp", netip.AddrPortFrom(peerPod, 4000).String())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := conn.Write([]byte("leak")); err == nil {
				count++
			}
		}
	}()
	return func() {
		t.Helper()
		close(stop)
		if count := <-sent; count < 100 {
			t.Errorf("only %d packets were sent meanwhile", count)
		}
		if _, err := steering.Teardown(o); err != nil {
			t.Fatal(err)
		}
		// Without steering it arrives, as the first one if none came before.
		send(t, n.pod, podAddr, peerPod, "control")
		arrives(t, plain, "control")
		removeRoute(t, route)
	}
}

// TestRestart: a second start goes on with the first one's counters, and there
// is no moment without a program.
func TestRestart(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		_, index := openTUN(t, o.Name)
		first := start(t, o)
		apply(t, first, steered(index))
		for range 3 {
			before := first.Status()
			send(t, n.pod, podAddr, peerPod, "one")
			grew(t, first, before, "tunnel_egress", "encrypt", "to_remote_pod")
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		end := leakTest(t, n, o)
		for range 5 {
			s := start(t, o)
			apply(t, s, guard())
			more := steered(index)
			more.Peers = append(more.Peers, steering.Peer{Name: "node-a", PodCIDRs: prefixes("10.244.3.0/24")})
			apply(t, s, more)
			peers := s.Status().Peers
			if len(peers) != 2 || peers[0] != (steering.PeerCounts{Name: "node-a"}) || peers[1].Name != "node-b" || peers[1].TxPackets < 3 {
				t.Errorf("node-a has sent nothing, node-b 3 or more; counted: %+v", peers)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		end()
	})
}

// TestOtherMechanism: each start attaches by the other mechanism and leaves
// nothing of the one before.
func TestOtherMechanism(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		if !hasTCX() {
			t.Skip("this kernel has no tcx (Linux 6.6 has)")
		}
		_, index := openTUN(t, o.Name)
		first := start(t, o)
		apply(t, first, steered(index))
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		end := leakTest(t, n, o)
		for range 4 {
			o.ForceClsact = !o.ForceClsact
			s := start(t, o)
			apply(t, s, steered(index))
			links, err := os.ReadDir(filepath.Join(o.BPFFS, o.Name, "links"))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			filters := slices.Concat(filterNames(t, "eth0", netlink.HANDLE_MIN_EGRESS), filterNames(t, "eth0", netlink.HANDLE_MIN_INGRESS))
			if want := map[bool][2]int{false: {5, 2}, true: {0, 3}}[o.ForceClsact]; len(links) != want[0] || len(filters) != want[1] {
				t.Errorf("forceClsact %v: links %v, filters %v", o.ForceClsact, links, filters)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		end()
	})
}

// TestOtherLayout: pins that an older version made are replaced without a gap.
func TestOtherLayout(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		_, index := openTUN(t, o.Name)
		s := start(t, o)
		apply(t, s, steered(index))
		end := leakTest(t, n, o)
		spec, err := bpf.LoadSteer()
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range spec.Maps {
			path := filepath.Join(o.BPFFS, o.Name, "maps", name)
			older := m.Copy()
			older.ValueSize += 8
			older.Value = nil
			old, err := ebpf.NewMap(older)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := old.Pin(path); err != nil {
				t.Fatal(err)
			}
			old.Close()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = start(t, o)
			apply(t, s, steered(index))
			now, err := ebpf.LoadPinnedMap(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Compatible(now); err != nil {
				t.Errorf("pin %s is still the old one: %v", name, err)
			}
			now.Close()
			before := s.Status()
			grew(t, s, before, "tunnel_egress", "encrypt", "to_remote_pod")
			eventually(t, func() string {
				if s.Status().Peers[0].TxPackets > before.Peers[0].TxPackets {
					return ""
				}
				return "after a new " + name + " the peer's packets are not counted any more"
			})
		}
		stop(t, s)
		end()
	})
}

// TestDifference: what is as it should be is not written.
func TestDifference(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		_, index := openTUN(t, o.Name)
		s := start(t, o)
		changes := func(state steering.State) uint64 {
			t.Helper()
			before := s.Status().Changes
			apply(t, s, state)
			return s.Status().Changes - before
		}
		if changes(steered(index)) == 0 {
			t.Error("the first state changed nothing")
		}
		if got := changes(steered(index)); got != 0 {
			t.Errorf("the same state changed %d things", got)
		}
		more := steered(index)
		more.Peers = append(more.Peers, steering.Peer{Name: "node-a", PodCIDRs: prefixes("10.244.3.0/24"), NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.3")}})
		if got := changes(more); got != 5 { // its number, two prefixes, a route, its node in the nftables table
			t.Errorf("a peer more changed %d things, want 5", got)
		}
		slices.Reverse(more.Peers)
		if got := changes(more); got != 0 {
			t.Errorf("the same state in another order changed %d things", got)
		}
		if got := changes(steered(index)); got != 5 {
			t.Errorf("a peer less changed %d things, want 5", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = start(t, o)
		programs := map[bool]uint64{false: 8, true: 5}[byClsact(o)]
		if got := changes(steered(index)); got != programs { // they are new ones
			t.Errorf("another start changed %d things, want its %d programs", got, programs)
		}
		if changes(guard()) == 0 || changes(guard()) != 0 {
			t.Error("the guard changes something, and only once")
		}
		if peers := s.Status().Peers; len(peers) != 1 {
			t.Errorf("the guard forgot the peer: %+v", peers)
		}
		none := steered(index)
		none.Peers = nil
		apply(t, s, none)
		if peers := s.Status().Peers; len(peers) != 0 {
			t.Errorf("a peer that is no more is still counted: %+v", peers)
		}
	})
}

// TestTeardown: nothing is left.
func TestTeardown(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		_, index := openTUN(t, o.Name)
		veth(t, "eth1", n.world)
		o.BPFFS = filepath.Join(o.BPFFS, "made", "by-apply")
		before := traces(t, o)
		s := start(t, o)
		state := steered(index)
		state.Devices = []string{"eth0", "eth1"}
		apply(t, s, state)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, traces(t, o)); diff == "" {
			t.Fatal("steering left no trace that this test could see")
		}
		removed, err := steering.Teardown(o)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(removed, "\n")
		for _, want := range []string{"nftables table inet wgsteer-wgt0", "egress of eth0", "ingress of eth0", "egress of eth1", "ingress of eth1", "ingress of wgt0", "route to 10.244.0.0/16", "route to fd00:244:2::/64", "address 192.0.2.1/32 of wgt0", "maps/prefixes"} {
			wantText(t, text, want)
		}
		if diff := cmp.Diff(before, traces(t, o)); diff != "" {
			t.Errorf("teardown left traces (-before +after):\n%s", diff)
		}
		if _, err := os.Stat(o.BPFFS); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the directory around the pins is left: %v", err)
		}
		if again, err := steering.Teardown(o); len(again) > 0 || err != nil {
			t.Errorf("a second teardown removed %v, %v", again, err)
		}
	})
}

// traces is what steering could leave behind, without the routes and link-local
// addresses that the kernel itself makes, for IPv6 some time later.
func traces(t *testing.T, o steering.Options) []string {
	t.Helper()
	var found []string
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			if r.Protocol == unix.RTPROT_KERNEL {
				continue
			}
			found = append(found, fmt.Sprintf("route %v via %v dev %d type %d metric %d protocol %v", r.Dst, r.Gw, r.LinkIndex, r.Type, r.Priority, r.Protocol))
		}
	}
	addresses, err := netlink.AddrList(nil, unix.AF_UNSPEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if a.IP.IsLinkLocalUnicast() {
			continue
		}
		found = append(found, fmt.Sprintf("address %v dev %d", a.IPNet, a.LinkIndex))
	}
	qdiscs, err := netlink.QdiscList(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range qdiscs {
		found = append(found, fmt.Sprintf("qdisc %s dev %d", q.Type(), q.Attrs().LinkIndex))
	}
	pins, err := filepath.Glob(o.BPFFS + "/*/*/*")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(o.BPFFS, o.Name)); err == nil {
		pins = append(pins, o.Name)
	}
	for line := range strings.Lines(nftTool(t, "list tables")) {
		found = append(found, "nftables "+line)
	}
	slices.Sort(found)
	return append(found, pins...)
}

// filterNames are the clsact filters of a device.
func filterNames(t *testing.T, device string, parent uint32) []string {
	t.Helper()
	filters, err := netlink.FilterList(byName(t, device), parent)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok {
			names = append(names, b.Name)
		}
	}
	return names
}
