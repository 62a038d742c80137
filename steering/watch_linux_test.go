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
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
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
			if err := socket.SetReceiveTimeout(&unix.Timeval{Sec: 5}); err != nil {
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
