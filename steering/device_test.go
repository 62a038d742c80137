package steering

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// via is a next hop of the main table; by a gateway if the text says so.
func via(dst string, device int, more ...string) route {
	return route{dst: netip.MustParsePrefix(dst), device: device, table: 254, gateway: slices.Contains(more, "gateway")}
}

func nic(index int, name, kind string) device {
	return device{index: index, name: name, kind: kind, linkLayer: "ether", mtu: 1500}
}

// line is a Device as the tables below write it.
func line(d Device) string { return d.Name + ": " + d.Reason }

func TestFind(t *testing.T) {
	lo := device{index: 1, name: "lo", kind: "device", linkLayer: "loopback", loopback: true}
	eth0, eth1 := nic(2, "eth0", "device"), nic(3, "eth1", "device")
	tunnel := device{index: 9, name: "wgsteer0", kind: "tuntap", linkLayer: "none"}
	defaults := via("0.0.0.0/0", 2, "gateway")
	want := sought{
		cluster: cidrs("10.244.0.0/16", "fd00::/32"), local: cidrs("10.244.1.0/24"), remote: cidrs("10.244.2.0/24"),
		endpoints: addrs("198.51.100.2"), tunnel: "wgsteer0", tunnelIndex: 9,
	}
	port := func(d device, master int) device { d.master = master; return d }
	bare := func(d device, layer string) device { d.linkLayer = layer; return d }
	with := func(functions int, d device) device { d.functions = functions; return d }
	child := func(d device, parent int) device { d.parent = parent; return d }
	for _, test := range []struct {
		name        string
		network     network
		named       []string
		targets     []string // + for those with an Ethernet header
		unsteerable []string // "device: part of the reason"
		missing     []string
	}{
		{"default route", network{[]device{lo, eth0, eth1, tunnel}, []route{defaults}}, nil, []string{"+eth0: default route"}, nil, nil},
		{"IPv6 default route", network{[]device{eth1}, []route{via("::/0", 3)}}, nil, []string{"+eth1: default route"}, nil, nil},
		{"never lo, nor the tunnel", network{[]device{lo, tunnel}, []route{via("0.0.0.0/0", 1), via("0.0.0.0/0", 9)}}, nil, nil, nil, nil},
		{"route to an endpoint", network{[]device{eth0, eth1}, []route{defaults, via("198.51.100.0/24", 3)}}, nil,
			[]string{"+eth0: default route", "+eth1: route to endpoint 198.51.100.2"}, nil, nil},
		{"the less specific one is not it", network{[]device{eth0, eth1}, []route{via("198.51.0.0/16", 2), via("198.51.100.0/24", 3)}}, nil,
			[]string{"+eth1: route to endpoint 198.51.100.2"}, nil, nil},
		{"unless in another table", network{[]device{eth0, eth1}, []route{{dst: netip.MustParsePrefix("198.51.0.0/16"), device: 2, table: 100}, via("198.51.100.0/24", 3)}}, nil,
			[]string{"+eth0: route to endpoint 198.51.100.2", "+eth1: route to endpoint 198.51.100.2"}, nil, nil},
		{"two next hops", network{[]device{eth0, eth1}, []route{via("198.51.100.0/24", 2), via("198.51.100.0/24", 3)}}, nil,
			[]string{"+eth0: route to endpoint 198.51.100.2", "+eth1: route to endpoint 198.51.100.2"}, nil, nil},
		{"route to a peer's pods", network{[]device{eth1}, []route{via("10.244.2.0/24", 3, "gateway")}}, nil,
			[]string{"+eth1: route to pods 10.244.2.0/24"}, nil, nil},
		{"route to a part of them", network{[]device{eth1}, []route{via("10.244.2.64/26", 3)}}, nil,
			[]string{"+eth1: route to pods 10.244.2.64/26"}, nil, nil},
		{"route to the whole cluster", network{[]device{eth1}, []route{via("10.244.0.0/16", 3)}}, nil,
			nil, []string{"eth1: carries both"}, nil},
		{"the same, pods elsewhere", network{[]device{eth1, nic(4, "cni0", "bridge")}, []route{via("10.244.0.0/16", 3), via("10.244.1.0/24", 4)}}, nil,
			[]string{"+eth1: route to pods 10.244.2.0/24"}, nil, nil},
		{"route to unannounced pods", network{[]device{eth1}, []route{via("10.244.8.0/24", 3, "gateway")}}, nil,
			[]string{"+eth1: route to pods 10.244.8.0/24"}, nil, nil},
		{"a local pod with a foreign address", network{[]device{nic(4, "veth4", "veth")}, []route{via("10.244.8.3/32", 4)}}, nil, nil, nil, nil},
		{"local pods", network{[]device{eth0, nic(4, "cni0", "bridge")}, []route{defaults, via("10.244.1.0/24", 4)}}, nil,
			[]string{"+eth0: default route"}, nil, nil},
		{"a bridge with pods and uplink", network{[]device{port(eth0, 4), nic(4, "br0", "bridge")}, []route{via("0.0.0.0/0", 4, "gateway"), via("10.244.1.0/24", 4)}}, nil,
			nil, []string{"br0: carries both this node's pods (route to 10.244.1.0/24)"}, nil},
		{"its port, named", network{[]device{port(eth0, 4), nic(4, "br0", "bridge")}, []route{via("0.0.0.0/0", 4, "gateway"), via("10.244.1.0/24", 4)}}, []string{"eth0"},
			[]string{"+eth0: named in the configuration"}, nil, nil},
		{"a bond's port, named", network{[]device{port(eth0, 4), nic(4, "bond0", "bond")}, nil}, []string{"eth0"},
			[]string{"+bond0: named in the configuration"}, nil, nil},
		{"a port that has the route itself", network{[]device{port(eth0, 4), nic(4, "team0", "team")}, []route{defaults}}, nil,
			[]string{"+team0: default route"}, nil, nil},
		{"a VRF is no such master", network{[]device{port(eth0, 4), nic(4, "vrf0", "vrf")}, []route{defaults}}, nil,
			[]string{"+eth0: default route"}, nil, nil},
		{"overlays, of any state", network{[]device{eth0, nic(4, "flannel.1", "vxlan"), bare(nic(5, "tunl0", "ipip"), "ipip"), bare(nic(6, "sit0", "sit"), "sit"), nic(7, "genev", "geneve"), bare(nic(8, "gre6", "ip6gre"), "unknown823")}, nil}, nil,
			[]string{"+flannel.1: overlay device", "+genev: overlay device", "gre6: overlay device", "sit0: overlay device", "tunl0: overlay device"}, nil, nil},
		{"an overlay that is a port", network{[]device{port(nic(4, "vxlan0", "vxlan"), 5), nic(5, "br0", "bridge")}, nil}, nil,
			[]string{"+vxlan0: overlay device"}, nil, nil},
		{"an overlay that has a pod address", network{[]device{nic(4, "flannel.1", "vxlan")}, []route{via("10.244.1.0/32", 4), via("10.244.2.0/24", 4)}}, nil,
			[]string{"+flannel.1: overlay device"}, nil, nil},
		{"named ones alone", network{[]device{eth0, eth1, nic(4, "vxlan0", "vxlan")}, []route{defaults}}, []string{"eth1", "eth7"},
			[]string{"+eth1: named in the configuration"}, nil, []string{"eth7"}},
		{"no link-layer header", network{[]device{bare(nic(2, "ppp0", "ppp"), "ppp")}, []route{defaults}}, nil,
			[]string{"ppp0: default route"}, nil, nil},
		{"an unknown link layer", network{[]device{bare(nic(2, "ib0", "device"), "infiniband")}, []route{defaults}}, nil,
			nil, []string{`ib0: its link layer "infiniband"`}, nil},
		{"virtual functions", network{[]device{with(4, eth0), with(2, eth1)}, []route{defaults}}, nil,
			[]string{"+eth0: default route"}, []string{"eth0's virtual functions: SR-IOV, 4 of eth0"}, nil},
		{"virtual functions of a bond's port", network{[]device{with(4, port(eth0, 4)), nic(4, "bond0", "bond")}, []route{via("0.0.0.0/0", 4, "gateway")}}, nil,
			[]string{"+bond0: default route"}, []string{"eth0's virtual functions: SR-IOV, 4 of eth0"}, nil},
		{"macvlan beside", network{[]device{eth0, child(nic(4, "mv0", "macvlan"), 2), child(nic(5, "mv1", "macvlan"), 3)}, []route{defaults}}, nil,
			[]string{"+eth0: default route"}, []string{"mv0: macvlan on eth0"}, nil},
		{"ipvlan as the uplink", network{[]device{child(nic(2, "eth0", "ipvlan"), 1000)}, []route{defaults}}, nil,
			[]string{"+eth0: default route"}, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := want
			w.named = test.named
			sel := test.network.find(w)
			var targets []string
			for _, target := range sel.targets {
				text := line(target.Device)
				if target.ethernet {
					text = "+" + text
				}
				targets = append(targets, text)
			}
			if diff := cmp.Diff(test.targets, targets); diff != "" {
				t.Errorf("targets (-want +got):\n%s", diff)
			}
			matches := func(want string, got Device) bool {
				name, reason, _ := strings.Cut(want, ": ")
				return got.Name == name && strings.Contains(got.Reason, reason)
			}
			if !slices.EqualFunc(test.unsteerable, sel.unsteerable, matches) {
				t.Errorf("unsteerable: got %+v, want %q", sel.unsteerable, test.unsteerable)
			}
			if diff := cmp.Diff(test.missing, sel.missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRetain: strict lets go of no device by which a packet could leave the node.
func TestRetain(t *testing.T) {
	want := sought{
		cluster: cidrs("10.244.0.0/16", "fd00::/32"), local: cidrs("10.244.1.0/24", "fd00:0:1::/64"),
		remote: cidrs("10.244.2.0/24"), tunnel: "wgsteer0", tunnelIndex: 9,
	}
	own, own6, linkLocal := via("10.244.1.0/24", 3), via("fd00:0:1::/64", 3), via("fe80::/64", 3)
	for _, test := range []struct {
		name   string
		kind   string
		routes []route
		named  []string
		kept   bool
	}{
		{"no route at all", "device", nil, nil, true},
		{"a route to its own link", "device", []route{via("192.0.2.0/24", 3)}, nil, true},
		{"link-local alone", "device", []route{linkLocal}, nil, true},
		{"this node's pods", "bridge", []route{own, own6, linkLocal, via("ff00::/8", 3)}, nil, false},
		{"one of them", "veth", []route{via("10.244.1.7/32", 3)}, nil, false},
		{"pods here, and its own link", "bridge", []route{own, via("192.0.2.0/24", 3)}, nil, true},
		{"pods here, by a gateway", "device", []route{via("10.244.1.0/24", 3, "gateway")}, nil, true},
		{"pods here, and more by a gateway", "device", []route{own, via("10.244.1.128/25", 3, "gateway")}, nil, true},
		{"more than pods here", "bridge", []route{via("10.244.0.0/23", 3)}, nil, true},
		{"another's pods", "bridge", []route{own, via("10.244.2.0/24", 3)}, nil, true},
		{"an overlay", "vxlan", []route{own}, nil, true},
		{"another is named", "device", nil, []string{"eth0"}, false},
		{"one that is not there is named", "device", nil, []string{"eth1"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := want
			w.named = test.named
			n := network{[]device{nic(2, "eth0", "device"), nic(3, "x", test.kind)}, append(test.routes, via("0.0.0.0/0", 2, "gateway"))}
			sel := n.find(w).retain(n, map[int]bool{2: true, 3: true}, w)
			if kept := slices.ContainsFunc(sel.targets, func(d target) bool { return d.Name == "x" }); kept != test.kept {
				t.Errorf("kept: %v; targets %+v", kept, sel.targets)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	n := network{
		[]device{nic(2, "eth0", "device"), nic(3, "eth1", "device"), nic(4, "vxlan0", "vxlan")},
		[]route{
			{dst: netip.MustParsePrefix("0.0.0.0/0"), device: 2, table: 254, metric: 200, gateway: true},
			{dst: netip.MustParsePrefix("0.0.0.0/0"), device: 3, table: 254, metric: 100, gateway: true},
			{dst: netip.MustParsePrefix("::/0"), device: 2, table: 254, metric: 1024, gateway: true},
		},
	}
	var addresses []address
	for device, list := range [][]string{2: {"2001:db8::1", "192.0.2.1", "192.0.2.9"}, 3: {"198.51.100.1", "2001:db8:1::1"}, 4: {"10.244.1.0"}} {
		for _, a := range list {
			addresses = append(addresses, address{device, netip.MustParseAddr(a)})
		}
	}
	got := n.facts(addresses, nil, nil)
	want := Facts{
		Uplinks:          []Device{{Name: "eth0", Index: 2, MTU: 1500, Kind: "device", Reason: "default route"}, {Name: "eth1", Index: 3, MTU: 1500, Kind: "device", Reason: "default route"}},
		DefaultAddresses: addrs("198.51.100.1", "192.0.2.1", "192.0.2.9", "2001:db8::1"),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := n.facts(addresses, nil, []string{"vxlan0", "eth1"}); len(got.Uplinks) != 1 || got.Uplinks[0].Name != "eth1" {
		t.Errorf("of the named, the uplinks are eth1; got %+v", got.Uplinks)
	}
}

// TestPrefixMap checks the look-up against going through all prefixes.
func TestPrefixMap(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	randomPrefix := func() netip.Prefix {
		if random.IntN(2) == 0 {
			a := netip.AddrFrom4([4]byte{10, byte(random.IntN(4)), byte(random.IntN(4)), byte(random.IntN(256))})
			return netip.PrefixFrom(a, random.IntN(33)).Masked()
		}
		a := netip.AddrFrom16([16]byte{0xfd, 14: byte(random.IntN(4)), 15: byte(random.IntN(256))})
		return netip.PrefixFrom(a, random.IntN(129)).Masked()
	}
	for range 50 {
		var m prefixMap[string]
		var all []netip.Prefix
		for range random.IntN(40) {
			p := randomPrefix()
			m.put(p, p.String())
			all = append(all, p)
		}
		for range 100 {
			p := randomPrefix()
			want, bits := "", -1
			for _, q := range all {
				if within(p, q) && q.Bits() > bits {
					want, bits = q.String(), q.Bits()
				}
			}
			if got := m.longest(p.Addr(), p.Bits()); got != want {
				t.Fatalf("%v in %v: got %q, want %q", p, all, got, want)
			}
		}
	}
}

// BenchmarkFind is the look at a host of a big cluster: as many peers, each with
// a route of the CNI's.
func BenchmarkFind(b *testing.B) {
	for _, peers := range []int{50, 5000} {
		b.Run(fmt.Sprint(peers), func(b *testing.B) {
			n := network{devices: []device{nic(2, "eth0", "device")}, routes: []route{via("0.0.0.0/0", 2, "gateway"), via("192.0.0.0/16", 2)}}
			want := sought{cluster: cidrs("10.0.0.0/8"), local: cidrs("10.255.0.0/24")}
			for i := range peers {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
				want.remote = append(want.remote, p)
				want.endpoints = append(want.endpoints, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
				n.routes = append(n.routes, route{dst: p, device: 2, table: 254, gateway: true})
			}
			for b.Loop() {
				n.find(want)
			}
		})
	}
}

// TestLeaks: of a device that cannot be steered it is said what holds there.
func TestLeaks(t *testing.T) {
	br0 := Device{Name: "br0", Index: 4, Kind: "bridge", Reason: "pods and uplink"}
	odd0 := Device{Name: "odd0", Index: 5, Kind: "odd", Reason: "link layer"}
	all := func(int) bool { return true }
	for _, test := range []struct {
		name   string
		sel    selection
		strict bool
		fenced func(int) bool
		want   string
	}{
		{"nothing", selection{unsteerable: []Device{{Name: "mv0", Kind: "macvlan"}, {Name: "eth0's virtual functions", Kind: functionsKind}}}, true, all, ""},
		{"strict", selection{unsteerable: []Device{odd0}}, true, all, "odd0: link layer; the nftables table drops pods' packets there"},
		{"a bridge", selection{unsteerable: []Device{br0}}, true, all,
			"br0: pods and uplink; the nftables table drops pods' packets that are routed by it, and sees none that it passes from port to port"},
		{"permissive", selection{unsteerable: []Device{br0}}, false, all,
			"br0: pods and uplink; pods' packets may leave by it in plaintext, which the nftables table counts"},
		{"without a table there", selection{unsteerable: []Device{br0, odd0}}, true, func(device int) bool { return device == 5 },
			"br0: pods and uplink; pods' packets may leave by it in plaintext; odd0: link layer; the nftables table drops pods' packets there"},
		{"steered before", selection{unsteerable: []Device{br0}, targets: []target{{Device: br0}}}, true, all, "br0: pods and uplink; it keeps its programs for now"},
		{"to come", selection{missing: []string{"eth7"}}, true, all, "eth7: no such device yet, although the configuration names it"},
	} {
		if got := test.sel.leaks(test.strict, test.fenced); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
