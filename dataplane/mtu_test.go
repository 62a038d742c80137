package dataplane_test

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
)

// TestMTUFollowsTheUplinks: at once, not with the next reconciliation without a cause;
// an uplink that flaps changes nothing.
func TestMTUFollowsTheUplinks(t *testing.T) {
	c := config(t)
	ip := func(command string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", command, err, out)
		}
	}
	ip("link add up0 mtu 1500 type veth peer name up1")
	t.Cleanup(func() { exec.Command("ip", "link", "del", "up0").Run() })
	ip("link set up1 up")
	ip("address add 198.51.100.1/24 dev up0")
	ip("link set up0 up")
	ip("route add default via 198.51.100.2")
	d := run(t, c)
	follows := func(what string, mtu int) {
		t.Helper()
		began := time.Now()
		wait(t, d, fmt.Sprint(what, ": MTU ", mtu), func(s dataplane.Status) bool {
			device, err := net.InterfaceByName(c.Interface)
			return s.Ready && s.MTU == mtu && err == nil && device.MTU == mtu
		})
		if took := time.Since(began); took > 20*time.Second { // reconciliations without a cause are 30 s apart
			t.Errorf("%s: nothing for %v", what, took)
		}
	}
	follows("at the start", 1420)
	ip("link set up0 mtu 1400")
	follows("a smaller uplink", 1320)
	ip("link set up0 down") // and its route is gone
	if err := d.Reload(c); err != nil {
		t.Fatal(err)
	}
	follows("no uplink", 1320)
	ip("link set up0 up")
	ip("route add default via 198.51.100.2")
	ip("link set up0 mtu 9000")
	follows("a larger uplink", 8920)
	want := dataplane.MTUSource{Uplink: "up0", UplinkMTU: 9000, Overhead: 80, Allowed: 8920}
	if got := d.Status().MTUSource; got != want {
		t.Errorf("it is made of %+v, want %+v", got, want)
	}
}
