package steering_test

import (
	"net"
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
