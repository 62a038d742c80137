package steering_test

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/wgsteer/wgsteer/steering"
)

// TestGuardFirst: somebody took all away but steer, while no process ran. The next one
// begins without a tunnel, when steer leaves packets to the guard: that is there by
// then.
func TestGuardFirst(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		_, index := openTUN(t, o.Name)
		addRoute(t, "10.244.2.0/24", "192.0.2.2") // the CNI's
		world := listen(t, n.world, peerPod)
		rounds := 8
		if testing.Short() { // where each takes seconds
			rounds = 2
		}
		for i := range rounds {
			s := start(t, o)
			apply(t, s, steered(index))
			if i == 0 {
				flood(t, n, peerPod)
			}
			stop(t, s)
			if byClsact(o) {
				deleteGuardFilter(t)
			} else {
				detachLink(t, filepath.Join(o.BPFFS, o.Name, "links", fmt.Sprintf("%d-egress-guard", byName(t, "eth0").Attrs().Index)))
				deleteClsact(t, "eth0")
			}
			s = start(t, o)
			apply(t, s, guard())
			nothingCame(t, world)
			stop(t, s)
		}
	})
}

// flood has the pod send datagrams until the test ends.
func flood(t *testing.T, n node, to netip.Addr) {
	t.Helper()
	var conn net.Conn
	inside(t, n.pod, func() {
		var err error
		if conn, err = net.Dial("udp", netip.AddrPortFrom(to, 4000).String()); err != nil {
			t.Error(err)
		}
	})
	done, ended := make(chan bool), make(chan bool)
	t.Cleanup(func() { close(done); <-ended; conn.Close() })
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				_, _ = conn.Write([]byte("flood")) // an error tells of an earlier one
			}
		}
	}()
}

// deleteGuardFilter takes the guard off the egress of the uplink.
func deleteGuardFilter(t *testing.T) {
	t.Helper()
	filters, err := netlink.FilterList(byName(t, "eth0"), netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && strings.Contains(b.Name, "/guard_") {
			if err := netlink.FilterDel(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}
