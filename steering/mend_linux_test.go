package steering_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/wgsteer/wgsteer/steering"
)

// TestMend: what others take away is put back, without waiting for the full look,
// and said in Status.
func TestMend(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		tun, index := openTUN(t, o.Name)
		eth0 := byName(t, "eth0").Attrs().Index
		if hasTCX() {
			attachForeign(t, eth0, returns(-1), "tcx") // it is not taken for ours
		}
		pins := filepath.Join(o.BPFFS, o.Name)
		detach := func(pin string) func(t *testing.T) {
			return func(t *testing.T) { detachLink(t, filepath.Join(pins, "links", pin)) }
		}
		type test struct {
			name string
			what []string // of the repairs, some
			take func(t *testing.T)
			sole bool // there are no others
		}
		tests := []test{
			{"our routes", []string{"unreachable route to 10.244.0.0/16", "route to 10.244.2.0/24", "route to fd00:244:2::/64"}, removeOurRoutes, false},
			{"an address of the tunnel device", []string{"address 192.0.2.1/32"}, func(t *testing.T) {
				a, err := netlink.ParseAddr("192.0.2.1/32")
				if err != nil {
					t.Fatal(err)
				}
				if err := netlink.AddrDel(byName(t, o.Name), a); err != nil {
					t.Fatal(err)
				}
			}, false}, // the routes that give it as a source go with it
			{"the clsact qdisc", map[bool][]string{
				true:  {"steer on the egress of eth0", "guard on the egress of eth0", "guard on the ingress of eth0"},
				false: {"backstop on the egress of eth0", "backstop on the ingress of eth0"},
			}[byClsact(o)], func(t *testing.T) { deleteClsact(t, "eth0") }, false},
			{"the tunnel device's clsact qdisc", map[bool][]string{
				true:  {"guard on the egress of wgt0", "guard on the ingress of wgt0"},
				false: {"backstop on the ingress of wgt0"},
			}[byClsact(o)], func(t *testing.T) { deleteClsact(t, o.Name) }, false},
			{"the pins", []string{"pin of map prefixes", "pin of map settings"}, func(t *testing.T) {
				if err := os.RemoveAll(pins); err != nil {
					t.Fatal(err)
				}
			}, false},
		}
		if !byClsact(o) {
			tests = append(tests,
				test{"steer's link", []string{"steer on the egress of eth0"}, detach(fmt.Sprintf("%d-egress-steer", eth0)), true},
				test{"the guard's link", []string{"guard on the egress of eth0"}, detach(fmt.Sprintf("%d-egress-guard", eth0)), true},
				test{"the guard's link at ingress", []string{"guard on the ingress of eth0"}, detach(fmt.Sprintf("%d-ingress-guard", eth0)), true},
				test{"the tunnel's link", []string{"guard on the ingress of wgt0"}, detach(fmt.Sprintf("%d-ingress-guard", index)), true})
		}
		if byClsact(o) {
			tests = append(tests, test{"the guard's filter", []string{"guard on the egress of eth0"}, deleteGuardFilter, true})
		}
		o.VerifyEvery = time.Hour
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				s := start(t, o)
				apply(t, s, steered(index))
				run(t, s)
				before := whole(t, o, eth0)
				test.take(t)
				eventually(t, func() string {
					if now := whole(t, o, eth0); now != before {
						return fmt.Sprintf("not mended (-want +got):\n%s", cmp.Diff(before, now))
					}
					return ""
				})
				wantRepairs(t, s, test.what)
				if r := s.Status().Repairs; test.sole && len(r) != len(test.what) {
					t.Errorf("repairs of %q alone are told of as %+v", test.what, r)
				}
				before2 := s.Status()
				send(t, n.pod, podAddr, peerPod, test.name)
				expect(t, tun, test.name)
				grew(t, s, before2, "tunnel_egress", "encrypt", "to_remote_pod")
			})
		}
	})
}

// wantRepairs says that Status tells of each of what, by name.
func wantRepairs(t *testing.T, s *steering.Steering, what []string) {
	t.Helper()
	eventually(t, func() string {
		repairs := s.Status().Repairs
		for _, w := range what {
			found := false
			for _, r := range repairs {
				found = found || r.What == w && r.Times > 0 && !r.Last.IsZero()
			}
			if !found {
				return fmt.Sprintf("no repair %q is told of: %+v", w, repairs)
			}
		}
		return ""
	})
}

// TestMendTheReversePathFilter: it is looked at with everything else.
func TestMendTheReversePathFilter(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		_, index := openTUN(t, o.Name)
		o.VerifyEvery = 20 * time.Millisecond
		s := start(t, o)
		apply(t, s, steered(index))
		run(t, s)
		path := "/proc/sys/net/ipv4/conf/" + o.Name + "/rp_filter"
		write(t, path, "1")
		eventually(t, func() string {
			if text, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(text)) != "2" {
				return fmt.Sprintf("rp_filter %s, %v", text, err)
			}
			return ""
		})
	})
}

func removeOurRoutes(t *testing.T) {
	t.Helper()
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: steering.DefaultRouteProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil || len(routes) != 6 {
		t.Fatalf("there are 6 routes of ours; got %v, %v", routes, err)
	}
	for _, r := range routes {
		removeRoute(t, &r)
	}
}

func detachLink(t *testing.T, path string) {
	t.Helper()
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Detach(); err != nil {
		t.Fatal(err)
	}
}

// whole is what TestMend's cases take away, as text.
func whole(t *testing.T, o steering.Options, uplink int) string {
	t.Helper()
	lines := append(traces(t, o), fmt.Sprintf("%d programs on the uplink", attachedTo(t, uplink)),
		fmt.Sprintf("%d on the tunnel device", attachedTo(t, byName(t, o.Name).Attrs().Index)))
	return strings.Join(lines, "\n")
}
