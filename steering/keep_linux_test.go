package steering_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/wgsteer/wgsteer/steering"
)

// TestUplinkIsNeverLetGo: a link that flaps, and a route that makes an uplink
// carry local pods too, let no plaintext out.
func TestUplinkIsNeverLetGo(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		_, index := openTUN(t, o.Name)
		s := start(t, o)
		run(t, s)
		apply(t, s, steered(index))
		end := leakTest(t, n, o)
		uplink := byName(t, "eth0")
		pods := &netlink.Route{LinkIndex: uplink.Attrs().Index, Dst: netlink.NewIPNet(net.IPv4(10, 244, 1, 129))}
		if err := netlink.RouteAdd(pods); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			if why := s.Status().Failing; !strings.Contains(why, "eth0: it carries both") {
				return "failing: " + why
			}
			return ""
		})
		wantDevices(t, s, "eth0")
		removeRoute(t, pods)
		eventually(t, func() string { return s.Status().Failing })
		for range 3 {
			if err := netlink.LinkSetDown(uplink); err != nil {
				t.Fatal(err)
			}
			apply(t, s, steered(index)) // it sees no route at all
			if err := netlink.LinkSetUp(uplink); err != nil {
				t.Fatal(err)
			}
			addRoute(t, "0.0.0.0/0", "192.0.2.2")
			addRoute(t, "10.244.2.0/24", "192.0.2.2")
		}
		wantDevices(t, s, "eth0")
		// What waits for the neighbour's address is still ahead of the programs, and
		// would be behind their end: wait until packets pass them again.
		grew(t, s, s.Status(), "egress", "encrypt", "to_remote_pod")
		stop(t, s)
		end()
	})
}

// TestDeviceOfOwnPodsIsLetGo: where nodes change their pods' prefixes with each other, the
// device of this node's pods leads to another's for a moment. It is steered then, and
// would drop all that is for the pods if it stayed so.
func TestDeviceOfOwnPodsIsLetGo(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		_, index := openTUN(t, o.Name)
		s := start(t, o)
		right := steered(index)
		swapped := steered(index)
		swapped.LocalPodCIDRs, swapped.Peers[0].PodCIDRs = right.Peers[0].PodCIDRs, right.LocalPodCIDRs
		apply(t, s, swapped)
		wantDevices(t, s, "eth0 pod0")
		apply(t, s, right)
		wantDevices(t, s, "eth0")
		in := listen(t, n.pod, podAddr)
		if err := trySend(t, n.host, nodeAddr, podAddr, "to the pod"); err != nil {
			t.Fatal(err)
		}
		arrives(t, in, "to the pod")
		if failing := s.Status().Failing; failing != "" {
			t.Errorf("failing: %s", failing)
		}
	})
}

// TestOneProcess: the pins are one process's at a time.
func TestOneProcess(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		first := start(t, o)
		apply(t, first, guard())
		second := start(t, o)
		err := second.Apply(t.Context(), guard())
		if err == nil || !strings.Contains(err.Error(), "another process steers by the pins") {
			t.Errorf("a second one beside the first: %v", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		apply(t, second, guard())
	})
}

// TestLockOfRemovedPins: who removes the pin directory removes the lock with it. The
// process that had it locks the new one, or is told that another did.
func TestLockOfRemovedPins(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		remove := func() {
			if err := os.RemoveAll(filepath.Join(o.BPFFS, o.Name)); err != nil {
				t.Fatal(err)
			}
		}
		refused := func(s *steering.Steering, state steering.State) {
			t.Helper()
			if err := s.Apply(t.Context(), state); err == nil || !strings.Contains(err.Error(), "another process steers by the pins") {
				t.Errorf("beside the other: %v", err)
			}
		}
		first, second := start(t, o), start(t, o)
		apply(t, first, guard())
		remove()
		apply(t, first, guard())
		refused(second, guard())

		remove()
		apply(t, second, guard())
		permissive := guard()
		permissive.Strict = false
		refused(first, permissive)
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
		apply(t, first, permissive)
		if e, err := steering.Explain(o, podAddr, unknownPod); err != nil || e.Strict {
			t.Errorf("what is pinned is not the first one's: %+v, %v", e, err)
		}
		wantFinding(t, o, "layers", steering.OK, "every layer")

		run(t, first)
		remove() // nobody applies anything
		eventually(t, func() string {
			if _, err := os.Stat(filepath.Join(o.BPFFS, o.Name, "maps", "prefixes")); err != nil {
				return err.Error()
			}
			return ""
		})
		refused(start(t, o), guard())
	})
}
