package dataplane

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

var (
	netipTypes = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{})
	compare    = cmp.Options{netipTypes, cmpopts.EquateEmpty()}
)

func pfx(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func ips(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func key(t *testing.T, seed string) wgkey.PrivateKey {
	t.Helper()
	k, err := wgkey.NewPrivateKey(strings.NewReader(strings.Repeat(seed, wgkey.Size)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func config() Config {
	return Config{
		Node:         "node-a",
		ClusterCIDRs: pfx("10.244.0.0/16"),
		PodCIDRs:     pfx("10.244.1.0/24"),
		NodeIPs:      ips("192.0.2.1", "2001:db8::1"),
		NodeCIDRs:    pfx("192.0.2.0/24"), // 2001:db8::2 of node-b is outside
		PodDevices:   []string{"veth*"},
	}.withDefaults("")
}

func nodeB(t *testing.T) keymgr.Node {
	return keymgr.Node{
		Name: "node-b", PublicKey: key(t, "b").Public(),
		Endpoint: netip.MustParseAddrPort("192.0.2.2:51871"),
		NodeIPs:  ips("192.0.2.2", "2001:db8::2"),
		PodCIDRs: pfx("10.244.2.0/24"),
	}
}

func TestPodsOutside(t *testing.T) {
	c := config()
	node := func(name string, cidrs ...string) keymgr.Node {
		return keymgr.Node{Name: name, PodCIDRs: pfx(cidrs...)}
	}
	got := podsOutside(c, []keymgr.Node{
		node("node-e", "10.9.0.0/24"), node("node-b", "10.244.2.0/24", "10.9.1.1/32"), node("node-c", "10.244.3.0/24"),
		node("node-d", "10.0.0.0/8"), node("node-f"), node(c.Node, "10.9.2.0/24"), node("node-b", "10.9.1.1/32"),
	})
	if d := cmp.Diff([]string{"node-b", "node-d", "node-e"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPlan(t *testing.T) {
	a, b := key(t, "a"), nodeB(t)
	f := facts{tunnel: tunnel.Link{Name: "wgsteer0", Index: 7}, uplinks: []steering.Device{{MTU: 9000}, {MTU: 1500}}}
	self := keymgr.Node{Name: "node-a", PublicKey: a.Public(), NodeIPs: ips("192.0.2.1"), PodCIDRs: pfx("10.244.1.0/24")}
	p := makePlan(config(), a, f, []keymgr.Node{self, b})

	wantSelf := self
	wantSelf.NodeIPs = ips("192.0.2.1", "2001:db8::1")
	wantSelf.Endpoint = netip.MustParseAddrPort("192.0.2.1:51871")
	if d := cmp.Diff(wantSelf, p.self, compare); d != "" {
		t.Errorf("own record (-want +got):\n%s", d)
	}
	wantTunnel := []tunnel.Peer{{
		PublicKey: b.PublicKey, Endpoint: b.Endpoint,
		AllowedIPs: pfx("10.244.2.0/24", "192.0.2.2/32", "2001:db8::2/128"),
	}}
	if d := cmp.Diff(wantTunnel, p.tunnel.Peers, compare, cmp.Comparer(wgkey.PresharedKey.Equal)); d != "" {
		t.Errorf("tunnel peers (-want +got):\n%s", d)
	}
	if p.tunnel.MTU != 1420 || p.tunnel.ListenPort != 51871 || !p.tunnel.PrivateKey.Equal(a) {
		t.Errorf("tunnel: MTU %d, port %d", p.tunnel.MTU, p.tunnel.ListenPort)
	}
	wantSteering := steering.State{
		Strict:        true,
		Tunnel:        steering.Tunnel{Index: 7, Addresses: pfx("192.0.2.1/32", "2001:db8::1/128")},
		LocalPodCIDRs: pfx("10.244.1.0/24"),
		LocalNodeIPs:  ips("192.0.2.1", "2001:db8::1"),
		Peers:         []steering.Peer{{Name: "node-b", PodCIDRs: b.PodCIDRs, NodeIPs: b.NodeIPs, Endpoint: b.Endpoint.Addr()}},
		ClusterCIDRs:  pfx("10.244.0.0/16"),
		NodeCIDRs:     pfx("192.0.2.0/24"),
		PodDevices:    []string{"veth*"},
	}
	if d := cmp.Diff(wantSteering, p.steering, compare); d != "" {
		t.Errorf("steering (-want +got):\n%s", d)
	}
	if len(p.problems) != 0 {
		t.Errorf("problems: %v", p.problems)
	}
}

func TestPlanWithoutTunnelSteersNowhere(t *testing.T) {
	p := makePlan(config(), key(t, "a"), facts{}, []keymgr.Node{nodeB(t)})
	if p.steering.Tunnel.Index != 0 || len(p.steering.Tunnel.Addresses) != 0 {
		t.Errorf("tunnel: %+v", p.steering.Tunnel)
	}
}

func TestPlanKeepalive(t *testing.T) {
	c, b := config(), nodeB(t)
	c.PersistentKeepalive = 25 * time.Second
	for _, tc := range []struct{ record, want time.Duration }{{0, 25 * time.Second}, {10 * time.Second, 10 * time.Second}} {
		b.PersistentKeepalive = tc.record
		p := makePlan(c, key(t, "a"), facts{}, []keymgr.Node{b})
		if got := p.tunnel.Peers[0].PersistentKeepalive; got != tc.want {
			t.Errorf("record says %s: got %s, want %s", tc.record, got, tc.want)
		}
	}
}

func TestPlanRefusesWhatCannotBeSteered(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*keymgr.Node)
		want   string
	}{
		"node address in the cluster": {func(n *keymgr.Node) { n.NodeIPs = ips("10.244.7.7") }, "node address 10.244.7.7"},
		"endpoint in the cluster":     {func(n *keymgr.Node) { n.Endpoint = netip.MustParseAddrPort("10.244.7.7:51871") }, "endpoint 10.244.7.7"},
		"pods outside the cluster":    {func(n *keymgr.Node) { n.PodCIDRs = pfx("10.9.0.0/24") }, "pod CIDR 10.9.0.0/24"},
	} {
		t.Run(name, func(t *testing.T) {
			b := nodeB(t)
			tc.change(&b)
			p := makePlan(config(), key(t, "a"), facts{}, []keymgr.Node{b})
			if len(p.tunnel.Peers) != 0 || len(p.steering.Peers) != 0 {
				t.Error("the peer is programmed")
			}
			if len(p.problems) != 1 || p.problems[0].Node != "node-b" || !strings.Contains(p.problems[0].Message, tc.want) {
				t.Errorf("problems: %v", p.problems)
			}
		})
	}
}

func TestTunnelMTU(t *testing.T) {
	for _, tc := range []struct {
		configured int
		uplinks    []int
		want       int
		why        string
	}{
		{1300, []int{1500}, 1300, "1300, configured; uplinks allow 1420"},
		{1300, nil, 1300, "1300, configured; uplinks allow 1420"},
		{0, nil, 1420, "1420, as over Ethernet: there is no uplink"},
		{0, []int{1500}, 1420, "1420 = 1500 of eth0 (smallest uplink) - 80 (WireGuard 32, UDP 8, IPv6 40)"},
		{0, []int{9000, 1400}, 1320, "1320 = 1400 of eth1 (smallest uplink) - 80 (WireGuard 32, UDP 8, IPv6 40)"},
		{0, []int{576}, 576, "576; the smallest uplink, eth0, has 576"},
		{0, []int{65535}, 65455, "65455 = 65535 of eth0 (smallest uplink) - 80 (WireGuard 32, UDP 8, IPv6 40)"},
		{0, []int{65536}, 65455, "65455; the smallest uplink, eth0, has 65536"},
	} {
		c, f := config(), facts{}
		c.MTU = tc.configured
		for i, m := range tc.uplinks {
			f.uplinks = append(f.uplinks, steering.Device{Name: fmt.Sprintf("eth%d", i), MTU: m})
		}
		p := makePlan(c, key(t, "a"), f, nil)
		if got := p.mtu.Explain(p.tunnel.MTU); p.tunnel.MTU != tc.want || got != tc.why {
			t.Errorf("configured %d, uplinks %v: got %d, %q, want %d, %q", tc.configured, tc.uplinks, p.tunnel.MTU, got, tc.want, tc.why)
		}
	}
}

// TestMTUWarning: a configured MTU is the person's business, unless the tunnel's
// datagrams do not fit.
func TestMTUWarning(t *testing.T) {
	b4, b6 := nodeB(t), nodeB(t)
	b6.Endpoint = netip.MustParseAddrPort("[2001:db8::2]:51871")
	for _, tc := range []struct {
		configured, uplink int
		peer               keymgr.Node
		want               string
	}{
		{0, 1400, b6, ""},
		{1420, 1500, b6, ""},
		{1421, 1500, b6, "1421 is more than eth0 leaves room for on the way to 2001:db8::2: 1420 of its 1500 bytes"},
		{1440, 1500, b4, ""},
		{1441, 1500, b4, "set mtu to 0 or at most 1440"},
		{9000, 0, b6, ""},
	} {
		c, f := config(), facts{}
		c.MTU = tc.configured
		if tc.uplink != 0 {
			f.uplinks = []steering.Device{{Name: "eth0", MTU: tc.uplink}}
		}
		problems := makePlan(c, key(t, "a"), f, []keymgr.Node{tc.peer}).problems
		if tc.want == "" && len(problems) == 0 {
			continue
		}
		if len(problems) != 1 || !problems[0].Warning || problems[0].Record != "mtu" || !strings.Contains(problems[0].Message, tc.want) || tc.want == "" {
			t.Errorf("%d over %d: %+v, want %q", tc.configured, tc.uplink, problems, tc.want)
		}
	}
}

func TestCheckSelf(t *testing.T) {
	c := config()
	if err := checkSelf(c, keymgr.Node{}); err == nil || !strings.Contains(err.Error(), "name this node's addresses") {
		t.Errorf("no address: %v", err)
	}
	if err := checkSelf(c, keymgr.Node{NodeIPs: ips("10.244.3.3")}); err == nil || !strings.Contains(err.Error(), "narrow clusterCIDRs") {
		t.Errorf("address in the cluster: %v", err)
	}
	if err := checkSelf(c, keymgr.Node{NodeIPs: c.NodeIPs}); err != nil {
		t.Error(err)
	}
}

func TestWithoutRemoved(t *testing.T) {
	b := steering.Peer{Name: "b", PodCIDRs: pfx("10.244.2.0/24", "10.244.12.0/24"), NodeIPs: ips("192.0.2.2")}
	c := steering.Peer{Name: "c", PodCIDRs: pfx("10.244.3.0/24"), NodeIPs: ips("192.0.2.3")}
	state := func(p ...steering.Peer) steering.State { return steering.State{Strict: true, Peers: p} }
	bLess := steering.Peer{Name: "b", PodCIDRs: pfx("10.244.2.0/24"), NodeIPs: ips("192.0.2.2")}
	cMore := steering.Peer{Name: "c", PodCIDRs: pfx("10.244.3.0/24", "10.244.12.0/24"), NodeIPs: ips("192.0.2.3")}
	for name, tc := range map[string]struct {
		old, next, want steering.State
		removed         bool
	}{
		"added":                         {state(b), state(b, c), state(b), false},
		"peer removed":                  {state(b, c), state(b), state(b), true},
		"prefix removed":                {state(b), state(bLess), state(bLess), true},
		"prefix moves, never unsteered": {state(b, c), state(bLess, cMore), state(b, c), false},
		"one added, one removed":        {state(b), state(c), state(), true},
		"the same":                      {state(b, c), state(c, b), state(b, c), false},
		"policy waits for the second":   {state(b), steering.State{Peers: []steering.Peer{b}}, state(b), false},
	} {
		t.Run(name, func(t *testing.T) {
			got, removed := withoutRemoved(tc.old, tc.next)
			if d := cmp.Diff(tc.want, got, compare); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if removed != tc.removed {
				t.Errorf("removed: got %v, want %v", removed, tc.removed)
			}
		})
	}
}
