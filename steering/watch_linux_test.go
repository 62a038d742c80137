package steering

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestSubscribe: each kind of change is told, by a message of its own.
func TestSubscribe(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	socket, err := subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	lo := byIndex(t, 1)
	for _, test := range []struct {
		name   string
		change func() error
		told   uint16
		family byte
	}{
		{"link", func() error { return netlink.LinkSetMTU(lo, 9000) }, unix.RTM_NEWLINK, unix.AF_UNSPEC},
		{"qdisc", func() error { return netlink.QdiscAdd(clsact(1)) }, unix.RTM_NEWQDISC, unix.AF_UNSPEC},
		{"qdisc deleted", func() error { return netlink.QdiscDel(clsact(1)) }, unix.RTM_DELQDISC, unix.AF_UNSPEC},
		{"IPv4 address", func() error { return netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(cidrs("192.0.2.1/32")[0])}) }, unix.RTM_NEWADDR, unix.AF_INET},
		{"IPv6 address", func() error { return netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(cidrs("2001:db8::1/128")[0])}) }, unix.RTM_NEWADDR, unix.AF_INET6},
		{"IPv4 route", func() error { return netlink.RouteAdd(blackhole("198.51.100.0/24")) }, unix.RTM_NEWROUTE, unix.AF_INET},
		{"IPv6 route", func() error { return netlink.RouteAdd(blackhole("2001:db8:1::/64")) }, unix.RTM_NEWROUTE, unix.AF_INET6},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.change(); err != nil {
				t.Fatal(err)
			}
			if err := socket.SetReceiveTimeout(&unix.Timeval{Sec: 60}); err != nil {
				t.Fatal(err)
			}
			for {
				messages, _, err := socket.Receive()
				if err != nil {
					t.Fatalf("not told: %v", err)
				}
				for _, m := range messages {
					if m.Header.Type == test.told && m.Data[0] == test.family {
						return
					}
				}
			}
		})
	}
}

// TestRouteEvents: what the kernel tells of our own changes is an echo, and what
// it tells of others' is not.
func TestRouteEvents(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	lo := byIndex(t, 1)
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	h := host{DefaultRouteProtocol, unix.RT_TABLE_MAIN}
	source := addrs("192.0.2.1", "2001:db8::1")
	for _, a := range source {
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(single(a)), Flags: unix.IFA_F_NODAD}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[routeKey]routeTarget{}
	for i, cidr := range cidrs("10.244.0.0/16", "fd00:244::/32") {
		want[routeKey{cidr, metricUnreachable}] = routeTarget{}
		want[routeKey{cidr, metricPods}] = routeTarget{1, source[i]}
	}
	events := followRoutes(t, h, len(want))
	for _, change := range []map[routeKey]routeTarget{want, {}} {
		for range 2 { // nothing is done, and told, where all is as wanted
			if _, _, err := h.setRoutes(change); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range events() {
			if !e.echoes(change) {
				t.Errorf("our own change is news: %+v", e)
			}
		}
	}
	foreign := host{200, unix.RT_TABLE_MAIN}
	other := host{DefaultRouteProtocol, 100}
	for _, h := range []host{foreign, other} {
		if _, _, err := h.setRoutes(map[routeKey]routeTarget{{cidrs("10.244.0.0/16")[0], 7}: {}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := h.setRoutes(want); err != nil {
		t.Fatal(err)
	}
	for _, e := range events() {
		if !e.echoes(want) {
			t.Errorf("another protocol's or table's route is taken for ours: %+v", e)
		}
	}
	for key, target := range want {
		if err := netlink.RouteDel(h.route(key, target)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range events() {
		if e.echoes(want) {
			t.Errorf("somebody removed a route, and that is taken for our own change: %+v", e)
		}
	}
}

// followRoutes returns a function that waits for the next events of h's routes.
func followRoutes(t *testing.T, h host, count int) (next func() []routeEvent) {
	t.Helper()
	socket, err := subscribe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	if err := socket.SetReceiveTimeout(&unix.Timeval{Sec: 60}); err != nil {
		t.Fatal(err)
	}
	return func() (events []routeEvent) {
		for len(events) < count {
			messages, _, err := socket.Receive()
			if err != nil {
				t.Fatalf("told of %+v, then: %v", events, err)
			}
			for _, m := range messages {
				if e, ours := h.routeEvent(m); ours {
					events = append(events, e)
				}
			}
		}
		return events
	}
}

func byIndex(t *testing.T, index int) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func blackhole(dst string) *netlink.Route {
	_, n, _ := net.ParseCIDR(dst)
	return &netlink.Route{Dst: n, Type: unix.RTN_BLACKHOLE}
}

func TestSettle(t *testing.T) {
	for _, test := range []struct {
		name   string
		events []time.Duration // when they come
		cancel time.Duration   // 0: never
		want   time.Duration
	}{
		{"nothing more", nil, 0, 50 * time.Millisecond},
		{"a few", []time.Duration{40 * time.Millisecond, 80 * time.Millisecond}, 0, 130 * time.Millisecond},
		{"a pause is enough", []time.Duration{60 * time.Millisecond}, 0, 50 * time.Millisecond},
		{"no end", every(10*time.Millisecond, 100), 0, 500 * time.Millisecond},
		{"the context ends", every(10*time.Millisecond, 100), 105 * time.Millisecond, 105 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.cancel > 0 {
					time.AfterFunc(test.cancel, cancel)
				}
				events := make(chan struct{}, 1)
				for _, at := range test.events {
					time.AfterFunc(at, func() {
						select {
						case events <- struct{}{}:
						default:
						}
					})
				}
				begin := time.Now()
				settle(ctx, events, 50*time.Millisecond, 500*time.Millisecond)
				if got := time.Since(begin); got != test.want {
					t.Errorf("settled after %v, want %v", got, test.want)
				}
			})
		})
	}
}

func every(step time.Duration, times int) []time.Duration {
	var all []time.Duration
	for i := range times {
		all = append(all, time.Duration(i+1)*step)
	}
	return all
}
