package dataplane_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
)

// noSource is never asked: New starts nothing.
type noSource struct{}

func (noSource) Run(context.Context, func(keymgr.Snapshot)) error { panic("New started the source") }
func (noSource) Publish(context.Context, keymgr.Node) error       { panic("New published a record") }

func valid() dataplane.Config {
	return dataplane.Config{
		Node:         "node-a",
		ClusterCIDRs: prefixes("10.244.0.0/16", "fd00:10:244::/48"),
		PodCIDRs:     prefixes("10.244.1.0/24", "fd00:10:244:1::/64"),
		NodeIPs:      addrs("192.0.2.1", "2001:db8::1"),
		Source:       noSource{},
	}
}

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestNewRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*dataplane.Config)
		want   string
	}{
		"no source":                {func(c *dataplane.Config) { c.Source = nil }, "source: none"},
		"no cluster":               {func(c *dataplane.Config) { c.ClusterCIDRs, c.PodCIDRs = nil, nil }, "clusterCIDRs: none"},
		"unmasked":                 {func(c *dataplane.Config) { c.PodCIDRs = prefixes("10.244.1.7/24") }, "podCIDRs: 10.244.1.7/24: has host bits; write 10.244.1.0/24"},
		"default route":            {func(c *dataplane.Config) { c.ClusterCIDRs = prefixes("0.0.0.0/0") }, "clusterCIDRs: 0.0.0.0/0"},
		"all of IPv4":              {func(c *dataplane.Config) { c.ClusterCIDRs = prefixes("::/8") }, "clusterCIDRs: ::/8: overlaps "},
		"mapped":                   {func(c *dataplane.Config) { c.PodCIDRs = prefixes("::ffff:10.244.1.0/120") }, "podCIDRs: ::ffff:10.244.1.0/120"},
		"pods outside":             {func(c *dataplane.Config) { c.PodCIDRs = prefixes("10.9.0.0/24") }, "podCIDRs: 10.9.0.0/24: lies in none of clusterCIDRs (10.244.0.0/16, fd00:10:244::/48)"},
		"wider than the cluster":   {func(c *dataplane.Config) { c.PodCIDRs = prefixes("10.0.0.0/8") }, "podCIDRs: 10.0.0.0/8: lies in none"},
		"node in cluster":          {func(c *dataplane.Config) { c.NodeIPs = addrs("10.244.9.9") }, "nodeIPs: 10.244.9.9: lies in clusterCIDRs' 10.244.0.0/16"},
		"mapped node":              {func(c *dataplane.Config) { c.NodeIPs = addrs("::ffff:192.0.2.9") }, "nodeIPs: ::ffff:192.0.2.9: is IPv4 in the form of IPv6; write 192.0.2.9"},
		"node twice":               {func(c *dataplane.Config) { c.NodeIPs = addrs("192.0.2.1", "192.0.2.1") }, "nodeIPs: 192.0.2.1: is given twice"},
		"pods overlap":             {func(c *dataplane.Config) { c.PodCIDRs = prefixes("10.244.1.0/24", "10.244.1.0/25") }, "podCIDRs: 10.244.1.0/25: overlaps 10.244.1.0/24"},
		"loopback node":            {func(c *dataplane.Config) { c.NodeIPs = addrs("127.0.0.1") }, "nodeIPs: 127.0.0.1: a loopback address reaches no other node"},
		"space in node":            {func(c *dataplane.Config) { c.Node = "node a" }, "node: node a: a node's name has only letters"},
		"endpoint in cluster":      {func(c *dataplane.Config) { c.Endpoint = netip.MustParseAddrPort("10.244.0.1:51871") }, "endpoint: 10.244.0.1:51871: lies in clusterCIDRs'"},
		"nodes among pods":         {func(c *dataplane.Config) { c.NodeCIDRs = prefixes("192.0.2.0/24", "10.0.0.0/8") }, "nodeCIDRs: 10.0.0.0/8: overlaps clusterCIDRs' 10.244.0.0/16, which is for pods alone; narrow one of them"},
		"unmasked nodes":           {func(c *dataplane.Config) { c.NodeCIDRs = prefixes("192.0.2.1/24") }, "nodeCIDRs: 192.0.2.1/24: has host bits; write 192.0.2.0/24"},
		"everything as nodes":      {func(c *dataplane.Config) { c.NodeCIDRs = prefixes("::/0") }, "nodeCIDRs: ::/0: the default route is no node CIDR"},
		"endpoint without a port":  {func(c *dataplane.Config) { c.Endpoint = netip.MustParseAddrPort("192.0.2.1:0") }, "endpoint: 192.0.2.1:0"},
		"endpoint unspecified":     {func(c *dataplane.Config) { c.Endpoint = netip.MustParseAddrPort("0.0.0.0:51871") }, "endpoint: 0.0.0.0:51871"},
		"multicast node":           {func(c *dataplane.Config) { c.NodeIPs = addrs("224.0.0.1") }, "nodeIPs: 224.0.0.1"},
		"long interface":           {func(c *dataplane.Config) { c.Interface = "wgsteer-is-too-long" }, "interface: wgsteer-is-too-long: the name of a network device has 1 to 15 bytes"},
		"slash in interface":       {func(c *dataplane.Config) { c.Interface = "wg/0" }, "interface: wg/0"},
		"dot in interface":         {func(c *dataplane.Config) { c.Interface = "wg.0" }, "interface: wg.0: its pins' directory"},
		"tunnel among devices":     {func(c *dataplane.Config) { c.Devices = []string{"wgsteer0"} }, "devices: wgsteer0: this is the tunnel device"},
		"pods behind all":          {func(c *dataplane.Config) { c.PodDevices = []string{"*"} }, "podDevices: *: every device fits; leave it out, for that is the default"},
		"pods behind none":         {func(c *dataplane.Config) { c.PodDevices = []string{""} }, `podDevices: "": the name of a network device has 1 to 15 bytes`},
		"a * within":               {func(c *dataplane.Config) { c.PodDevices = []string{"*0"} }, "podDevices: *0: a * stands at the end, and once"},
		"pods behind the tunnel":   {func(c *dataplane.Config) { c.PodDevices = []string{"wgsteer0"} }, "podDevices: wgsteer0: this is the tunnel device"},
		"many of pods' devices":    {func(c *dataplane.Config) { c.PodDevices = slices.Repeat([]string{"cni0"}, 33) }, "podDevices: 33 names: at most 32"},
		"encapsulation ports":      {func(c *dataplane.Config) { c.EncapsulationPorts.Geneve = []uint16{4789} }, "encapsulationPorts: [] [4789]: encapsulation port 4789: either VXLAN or Geneve, not both"},
		"bad node":                 {func(c *dataplane.Config) { c.Node = "../etc" }, "node: ../etc"},
		"hidden node":              {func(c *dataplane.Config) { c.Node = ".a" }, "node: .a"},
		"policy":                   {func(c *dataplane.Config) { c.Policy = "lax" }, "policy: lax: strict or permissive"},
		"backend":                  {func(c *dataplane.Config) { c.Backend = "openvpn" }, "backend: openvpn: userspace, kernel or auto"},
		"mtu":                      {func(c *dataplane.Config) { c.MTU = 100 }, "mtu: 100"},
		"keepalive":                {func(c *dataplane.Config) { c.PersistentKeepalive = -time.Second }, "persistentKeepalive: -1s"},
		"keepalive of a half":      {func(c *dataplane.Config) { c.PersistentKeepalive = 1500 * time.Millisecond }, "persistentKeepalive: 1.5s: whole seconds"},
		"relative state directory": {func(c *dataplane.Config) { c.StateDir = "state" }, "stateDir: state: an absolute path is needed"},
		"relative bpffs":           {func(c *dataplane.Config) { c.BPFFS = "bpf" }, "bpffs: bpf: an absolute path is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := valid()
			tc.change(&c)
			d, err := dataplane.New(c)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one with %q", err, tc.want)
			}
			if d != nil {
				t.Error("a data plane came with the error")
			}
		})
	}
}

func TestNewReportsAllErrors(t *testing.T) {
	c := valid()
	c.Policy, c.MTU, c.Source = "lax", 1, nil
	_, err := dataplane.New(c)
	for _, want := range []string{"policy: lax", "mtu: 1", "source: none"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestNewFillsInDefaults(t *testing.T) {
	d, err := dataplane.New(valid())
	if err != nil {
		t.Fatal(err)
	}
	s := d.Status()
	if s.Interface != "wgsteer0" || s.ListenPort != 51871 || s.Policy != dataplane.Strict || s.Backend != dataplane.Userspace {
		t.Errorf("defaults: %+v", s)
	}
	if s.State != dataplane.Stopped || s.Ready || len(s.Reasons) == 0 {
		t.Errorf("before Run: state %s, ready %v, reasons %q", s.State, s.Ready, s.Reasons)
	}
}

func TestMethodsBeforeRun(t *testing.T) {
	d, err := dataplane.New(valid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.RotateKey(ctx); err == nil {
		t.Error("RotateKey worked without Run")
	}
	if _, err := d.Greet(ctx); err == nil {
		t.Error("Greet worked without Run")
	}
	c := valid()
	c.Node = "other"
	if err := d.Reload(c); err != nil || d.Status().Node != "other" {
		t.Errorf("Reload before Run: %v, node %s", err, d.Status().Node)
	}
}
