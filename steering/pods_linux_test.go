package steering_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/steering"
)

// podByPod is a state in which a hundred peers, and this node, announce each pod by
// its address.
func podByPod(tunnel, perPeer int) steering.State {
	s := steered(tunnel)
	s.ClusterCIDRs, s.LocalPodCIDRs, s.Peers = prefixes("10.128.0.0/9"), nil, nil
	pods := func(node int) (all []netip.Prefix) {
		for pod := range perPeer {
			all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128 + byte(node), byte(pod >> 8), byte(pod)}), 32))
		}
		return all
	}
	s.LocalPodCIDRs = pods(0)[:min(perPeer, 250)]
	for i := range 100 {
		s.Peers = append(s.Peers, steering.Peer{
			Name: fmt.Sprintf("peer-%03d", i), PodCIDRs: pods(i + 1), Endpoint: peerNode,
			NodeIPs: []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})},
		})
	}
	return s
}

// onNode starts steering on a node with a tunnel device, and takes it down at the end.
func onNode(t *testing.T) (s *steering.Steering, o steering.Options, tunnel int) {
	t.Helper()
	o = steering.Options{BPFFS: privtest.BPFFS(t), Name: "wgt0"}
	newNode(t)
	t.Cleanup(func() {
		if _, err := steering.Teardown(o); err != nil {
			t.Errorf("teardown: %v", err)
		}
	})
	s = start(t, o)
	_, tunnel = openTUN(t, o.Name)
	return s, o, tunnel
}

// entries counts those of the map of prefixes.
func entries(t *testing.T, o steering.Options) (n int) {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(o.BPFFS, o.Name, "maps", "prefixes"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var key, value []byte
	all := m.Iterate()
	for all.Next(&key, &value) {
		n++
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestOnePodOfTenThousand: what a pod that comes or goes writes is that pod's alone.
func TestOnePodOfTenThousand(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s, _, index := onNode(t)
	all := podByPod(index, 100)
	timed := func(what string, state steering.State) (writes uint64) {
		t.Helper()
		before, begin := s.Status().Changes, time.Now()
		apply(t, s, state)
		t.Logf("%s: %v", what, time.Since(begin).Round(time.Millisecond))
		return s.Status().Changes - before
	}
	timed("ten thousand pods", all)
	more, own := podByPod(index, 100), podByPod(index, 100)
	more.Peers[50].PodCIDRs = append(more.Peers[50].PodCIDRs, netip.MustParsePrefix("10.254.0.1/32"))
	own.LocalPodCIDRs = append(own.LocalPodCIDRs, netip.MustParsePrefix("10.254.0.2/32"))
	moved := podByPod(index, 100)
	moved.LocalPodCIDRs = append(moved.LocalPodCIDRs, moved.Peers[0].PodCIDRs[0])
	moved.Peers[0].PodCIDRs = slices.Concat(moved.Peers[0].PodCIDRs[1:], moved.LocalPodCIDRs[:1])
	moved.LocalPodCIDRs = moved.LocalPodCIDRs[1:]
	for _, step := range []struct {
		name  string
		state steering.State
		most  uint64 // map entries, routes, ranges of the nftables table
	}{
		{"nothing", all, 0},
		{"a peer's pod more", more, 2},
		{"it goes", all, 2},
		{"a pod here more", own, 1 + 4}, // the range of pods elsewhere is split in two
		{"it goes", all, 1 + 4},
		{"this node and a peer swap one", moved, 2 + 2 + 12},
		{"and back", all, 2 + 2 + 12},
	} {
		if got := timed(step.name, step.state); got > step.most || got == 0 && step.most > 0 {
			t.Errorf("%s: %d writes, want at most %d", step.name, got, step.most)
		}
	}
}

// TestMorePrefixesThanTheMapHolds: it is told; what is not in it counts as the
// cluster's, which is dropped; a node's address is in it, that of a node that comes
// later as well, and whatever the order; the pods that were in it stay; and fewer are
// well again.
func TestMorePrefixesThanTheMapHolds(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s, o, index := onNode(t)
	begin := time.Now()
	err := s.Apply(t.Context(), podByPod(index, 660))
	t.Logf("too many: %v", time.Since(begin).Round(time.Millisecond))
	full := func(what string, err error) {
		t.Helper()
		if told := s.Status().Failing; err != nil || !strings.Contains(told, "to a map of 65536 entries: it is full") {
			t.Errorf("%s: %v; told as %q", what, err, told)
		}
		if got := entries(t, o); got != 65535 { // one is for changes
			t.Errorf("%s: %d entries", what, got)
		}
	}
	full("66,000 prefixes", err)
	class := func(addr, want string) {
		t.Helper()
		e, err := steering.Explain(o, nodeAddr, netip.MustParseAddr(addr))
		if err != nil || e.Destination.Class != want || want == "cluster" && e.Verdict != "drop" {
			t.Errorf("%s: %s, %s, %v; want %s", addr, e.Destination.Class, e.Verdict, err, want)
		}
	}
	class("10.128.0.1", "local_pod")
	class("10.228.2.147", "cluster")
	class("198.51.100.100", "remote_node")
	class("10.227.0.1", "remote_pod")
	for _, tunnel := range []int{index, 0} { // and where a guard keeps what is there
		more := podByPod(tunnel, 660)
		more.Peers = append(more.Peers, steering.Peer{
			Name: "new", PodCIDRs: prefixes("10.128.200.1/32", "10.254.0.0/24"), Endpoint: peerNode,
			NodeIPs: []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(200 + tunnel)})},
		})
		full("a node more", s.Apply(t.Context(), more))
		class(fmt.Sprintf("198.51.100.%d", 200+tunnel), "remote_node")
		class("10.254.0.1", "remote_pod")
		class("10.128.200.1", "cluster")
		class("10.227.0.1", "remote_pod")
	}
	moved := podByPod(index, 660) // what two nodes have changes, and all of a third one's
	moved.Peers[0].PodCIDRs, moved.Peers[1].PodCIDRs = moved.Peers[1].PodCIDRs, moved.Peers[0].PodCIDRs
	for i := range moved.Peers[2].PodCIDRs {
		moved.Peers[2].PodCIDRs[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 255, byte(i >> 8), byte(i)}), 32)
	}
	full("pods that move", s.Apply(t.Context(), moved))
	class("10.129.0.1", "remote_pod")
	class("10.131.0.1", "cluster")
	class("198.51.100.3", "remote_node")
	apply(t, s, podByPod(index, 10))
	if r := s.Status().Repairs; len(r) > 0 {
		t.Errorf("%d parts are said to have been put back, such as %+v", len(r), r[0])
	}
	if failing := s.Status().Failing; failing != "" {
		t.Errorf("still failing: %s", failing)
	}
}
