package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/steering"
)

// steers is, by CNI network, the devices of a node on which packets for other
// nodes' pods leave, and which have to be steered.
var steers = map[netlab.CNI][]string{
	netlab.Bridge:       {"eth0"},
	netlab.Routes:       {"eth0"},
	netlab.VXLAN:        {"eth0", "vxlan1"},
	netlab.IPIP:         {"eth0", "ipip1", "sit1"},
	netlab.DefaultRoute: {"eth0"},
	netlab.PluginBridge: {"eth0"},
	netlab.PluginPTP:    {"eth0"},

	netlab.PluginBridgeMasq: {"eth0"},
	netlab.PluginPTPMasq:    {"eth0"},
}

// kernelsOwn are devices that are in each network namespace once the modules ipip
// and sit are loaded; they are overlay devices, so they are steered.
var kernelsOwn = []string{"tunl0", "sit0"}

// TestNetworks: over each network, pods and nodes reach each other through the
// tunnel alone, which is where the pod's packet leaves and not where a device
// wraps it up; with each rp_filter.
func TestNetworks(t *testing.T) {
	for _, cni := range netlab.CNIs() {
		t.Run(string(cni), func(t *testing.T) {
			needs(t, cni)
			c := upWith(t, plain, netlab.Options{CNI: cni, Nodes: 2, Pods: 2})
			flows := append(c.Flows(), nodeFlows(c.Lab)...)
			for _, filter := range []string{"0", "1", "2"} {
				c.setRPFilter(filter)
				w := c.encrypted(func() { c.mustFlow(flows...) })
				if w.WireGuard.Frames == 0 {
					t.Errorf("rp_filter %s: nothing went through the tunnel: %+v", filter, w)
				}
			}
			for _, n := range c.Nodes {
				s := c.status(n.Name).Steering
				got := steered(t, s)
				for _, device := range steers[cni] { // beside kernelsOwn
					if !slices.Contains(got, device) {
						t.Errorf("%s steers %v, not %s", n.Name, got, device)
					}
				}
				noDrops(t, n.Name, s)
			}
		})
	}
}

// TestUplinks: the nodes' addresses on another device than a plain one, which is
// then where a pod's packet leaves; over an overlay, too.
func TestUplinks(t *testing.T) {
	for _, uplink := range []netlab.Uplink{netlab.UplinkBridge, netlab.UplinkBond, netlab.UplinkVLAN} {
		for cni, devices := range map[netlab.CNI][]string{
			netlab.Bridge: {uplink.Device()},
			netlab.VXLAN:  {uplink.Device(), "vxlan1"},
		} {
			t.Run(fmt.Sprintf("%s %s", uplink, cni), func(t *testing.T) {
				options := netlab.Options{CNI: cni, Uplink: uplink}
				needsLab(t, options)
				c := upWith(t, plain, options)
				w := c.encrypted(func() { c.mustFlow(append(c.Flows(), nodeFlows(c.Lab)...)...) })
				if w.WireGuard.Frames == 0 {
					t.Errorf("nothing went through the tunnel: %+v", w)
				}
				for _, n := range c.Nodes {
					s := c.status(n.Name).Steering
					got := slices.DeleteFunc(steered(t, s), func(name string) bool { return slices.Contains(kernelsOwn, name) })
					if !slices.Equal(got, devices) {
						t.Errorf("%s steers %v, want %v", n.Name, got, devices)
					}
					noDrops(t, n.Name, s)
				}
			})
		}
	}
}

// needs skips a test where a CNI network cannot be laid.
func needs(t *testing.T, cni netlab.CNI) {
	t.Helper()
	needsLab(t, netlab.Options{CNI: cni})
}

// needsLab skips a test where a lab cannot be laid: the kernel has no devices of
// some kind, or the plugins are not installed.
func needsLab(t *testing.T, o netlab.Options) {
	t.Helper()
	privtest.Root(t)
	o.Nodes, o.Reaper = 1, []string{os.Args[0], reap}
	lab, err := netlab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	err = lab.Up(t.Context())
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		t.Skip(err) // not privtest.Missing: no set-up gives this kernel any
	case errors.Is(err, fs.ErrNotExist):
		privtest.Missing(t, err.Error()+" (scripts/setup does)")
	}
	if err := errors.Join(err, lab.Down()); err != nil {
		t.Fatal(err)
	}
}

// nodeFlows is one flow of each protocol and family from each node to a pod of
// each other one, and back.
func nodeFlows(l *netlab.Lab) (flows []netlab.Flow) {
	for _, from := range l.Nodes {
		for _, to := range l.Nodes {
			if from == to {
				continue
			}
			for _, family := range l.Families {
				for _, p := range []netlab.Protocol{netlab.TCP, netlab.UDP, netlab.ICMP} {
					pod := to.Pods[len(flows)%len(to.Pods)].FullName()
					flows = append(flows, netlab.Flow{From: from.Name, To: pod, Protocol: p, Family: family},
						netlab.Flow{From: pod, To: from.Name, Protocol: p, Family: family})
				}
			}
		}
	}
	return flows
}

// steered are the names of the devices that are steered, sorted.
func steered(t *testing.T, s steering.Status) []string {
	t.Helper()
	var names []string
	for _, d := range s.Devices {
		if d.Error != "" {
			t.Errorf("%s is not steered: %s", d.Name, d.Error)
		}
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// noDrops fails if a program dropped anything but what the kernel itself sends
// into every device: router solicitations and multicast reports.
func noDrops(t *testing.T, node string, s steering.Status) {
	t.Helper()
	for _, v := range s.Verdicts {
		if v.Verdict == "drop" && v.Reason != "not_for_tunnel" {
			t.Errorf("%s dropped %d packets at %s as %s", node, v.Packets, v.Hook, v.Reason)
		}
	}
}

// setRPFilter sets the strictness of the reverse path filter (RFC 3704) for all
// devices of all nodes: each has the greater of this and its own.
func (c *cluster) setRPFilter(value string) {
	c.t.Helper()
	for _, n := range c.Nodes {
		if err := n.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte(value), 0) }); err != nil {
			c.t.Fatalf("set rp_filter of %s: %v", n.Name, err)
		}
	}
}
