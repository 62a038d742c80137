package netlab_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

func TestOptionsAreValidated(t *testing.T) {
	for _, tc := range []struct {
		options netlab.Options
		want    string // in the error; "" is none
	}{
		{netlab.Options{}, ""},
		{netlab.Options{Run: "demo", Nodes: 26, Pods: 200, Families: []int{6, 4}, MTU: 65535}, ""},
		{netlab.Options{Nodes: 1, Families: []int{4}, MTU: 656}, ""},
		{netlab.Options{Run: "a-b"}, `"a-b"`},
		{netlab.Options{Run: "toolonganame"}, "1 to 8"},
		{netlab.Options{Run: "../x"}, "1 to 8"},
		{netlab.Options{Nodes: 27}, "27 nodes: want 1 to 26"},
		{netlab.Options{Nodes: -1}, "-1 nodes"},
		{netlab.Options{Pods: 201}, "201 pods a node: want 1 to 200"},
		{netlab.Options{Families: []int{5}}, "families [5]"},
		{netlab.Options{Families: []int{4, 4}}, "occurs twice"},
		{netlab.Options{Families: []int{4}, MTU: 655}, "MTU 655: want 656 to 65535, so that a tunnel can carry 576"},
		{netlab.Options{MTU: 1360}, ""},
		{netlab.Options{MTU: 1359}, "MTU 1359: want 1360 to 65535, so that a tunnel can carry 1280"},
		{netlab.Options{MTU: 70000}, "65535"},
		{netlab.Options{MTU: 1500, PodMTU: 1500}, ""},
		{netlab.Options{MTU: 1500, PodMTU: 1501}, "MTU 1501 of pods: want 1280 to 1500; the underlay's is 1500, and CNI network bridge adds 0 bytes"},
		{netlab.Options{MTU: 1500, PodMTU: 1279}, "MTU 1279 of pods"},
		{netlab.Options{CNI: netlab.VXLAN, Families: []int{6}}, ""},
		{netlab.Options{CNI: netlab.VXLAN, PodMTU: 1450}, ""},
		{netlab.Options{CNI: netlab.VXLAN, PodMTU: 1451}, "want 1280 to 1450; the underlay's is 1500, and CNI network vxlan adds 50 bytes to a pod's packet"},
		{netlab.Options{CNI: netlab.VXLAN, Families: []int{6}, PodMTU: 1431}, "want 1280 to 1430"},
		{netlab.Options{CNI: netlab.IPIP, PodMTU: 1481}, "want 1280 to 1480"},
		{netlab.Options{CNI: netlab.IPIP, Families: []int{6}}, "family 4 is needed"},
		{netlab.Options{Uplink: netlab.UplinkBond}, ""},
		{netlab.Options{Uplink: "team"}, `uplink "team"`},
		{netlab.Options{CNI: "flannel"}, `CNI network "flannel": want one of bridge, routes, vxlan, ipip, default-route, plugin-bridge, plugin-ptp, plugin-bridge-masq, plugin-ptp-masq`},
	} {
		_, err := netlab.New(tc.options)
		if tc.want == "" && err != nil {
			t.Errorf("%+v: %v", tc.options, err)
		}
		if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: error %v, want one with %q", tc.options, err, tc.want)
		}
	}
}

func planned(t *testing.T, o netlab.Options) *netlab.Lab {
	t.Helper()
	lab, err := netlab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return lab
}

func TestLayout(t *testing.T) {
	lab := planned(t, netlab.Options{Run: "x", Nodes: 2, Pods: 2})
	var got []string
	say := func(f string, args ...any) { got = append(got, fmt.Sprintf(f, args...)) }
	say("cluster %v", lab.ClusterCIDRs)
	for _, n := range lab.Nodes {
		say("%s %v %v %s", n.Name, n.IPs, n.PodCIDRs, n.Interface)
		for _, p := range n.Pods {
			say("%s %v %s", p.FullName(), p.IPs, p.Path)
		}
	}
	b := lab.Nodes[1]
	say("%s %s %s %s %s", b.Path, b.StateDir, b.RunDir, b.BPFFS, lab.Records)
	want := []string{
		"cluster [10.244.0.0/16 fd00:10:244::/48]",
		"node-a [192.0.2.1 2001:db8:0:1::1] [10.244.1.0/24 fd00:10:244:1::/64] wg-x-a",
		"node-a/pod-1 [10.244.1.2 fd00:10:244:1::2] /run/netns/wgs-x-node-a-pod-1",
		"node-a/pod-2 [10.244.1.3 fd00:10:244:1::3] /run/netns/wgs-x-node-a-pod-2",
		"node-b [192.0.2.2 2001:db8:0:1::2] [10.244.2.0/24 fd00:10:244:2::/64] wg-x-b",
		"node-b/pod-1 [10.244.2.2 fd00:10:244:2::2] /run/netns/wgs-x-node-b-pod-1",
		"node-b/pod-2 [10.244.2.3 fd00:10:244:2::3] /run/netns/wgs-x-node-b-pod-2",
		"/run/netns/wgs-x-node-b /run/wgsteer-lab/x/node-b/state /run/wgsteer-lab/x/node-b/run /sys/fs/bpf/wgsteer-lab-x/node-b /run/wgsteer-lab/x/records",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
}

// The biggest lab has no address, device name or path twice, and all pods are
// within their node's CIDR and the cluster's.
func TestTheBiggestLabHasRoom(t *testing.T) {
	lab := planned(t, netlab.Options{Run: "eight888", Nodes: netlab.MaxNodes, Pods: netlab.MaxPods})
	seen := map[string]bool{}
	once := func(s string) {
		if seen[s] {
			t.Errorf("%s occurs twice", s)
		}
		seen[s] = true
	}
	device := regexp.MustCompile(`^[a-z0-9-]{1,15}$`) // IFNAMSIZ - 1
	for _, n := range lab.Nodes {
		once(n.Interface)
		once(n.Path)
		if !device.MatchString(n.Interface) || !device.MatchString(n.Name) {
			t.Errorf("%s, %s: not both names for devices", n.Interface, n.Name)
		}
		for _, ip := range n.IPs {
			once(ip.String())
		}
		for _, p := range n.Pods {
			once(p.Path)
			if !device.MatchString("veth-" + p.Name) {
				t.Errorf("veth-%s is no name for a device", p.Name)
			}
			for i, ip := range p.IPs {
				once(ip.String())
				if !n.PodCIDRs[i].Contains(ip) || !lab.ClusterCIDRs[i].Contains(ip) {
					t.Errorf("%s: %s is not within %s and %s", p.FullName(), ip, n.PodCIDRs[i], lab.ClusterCIDRs[i])
				}
			}
		}
	}
}

func TestRandomNamesDiffer(t *testing.T) {
	if a, b := planned(t, netlab.Options{}), planned(t, netlab.Options{}); a.Run == b.Run || a.Run == "" {
		t.Errorf("two labs are called %q and %q", a.Run, b.Run)
	}
}

func TestFind(t *testing.T) {
	lab := planned(t, netlab.Options{Run: "x", Nodes: 2, Pods: 2, Families: []int{6}})
	for name, want := range map[string]string{"node-b": "2001:db8:0:1::2", "node-a/pod-2": "fd00:10:244:1::3", "gateway": "2001:db8:0:1::fe"} {
		e, err := lab.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if ip, err := e.IP(6); err != nil || ip != netip.MustParseAddr(want) {
			t.Errorf("%s has %v, %v; want %s", name, ip, err, want)
		}
		if _, err := e.IP(4); err == nil {
			t.Errorf("%s has an IPv4 address in a lab without", name)
		}
	}
	_, err := lab.Find("pod-1")
	if want := `no node or pod "pod-1" in lab x; it has gateway, node-a to node-b, each with pod-1 to pod-2 (as in node-b/pod-1)`; err == nil || err.Error() != want {
		t.Errorf("Find says %v, want %s", err, want)
	}
}

func TestFlowsCoverEverything(t *testing.T) {
	lab := planned(t, netlab.Options{Run: "x", Nodes: 3, Pods: 2})
	flows := lab.Flows()
	if want := 3 * 2 * 3 * 2; len(flows) != want { // ordered pairs, protocols, families
		t.Errorf("%d flows, want %d", len(flows), want)
	}
	combinations, senders, receivers := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, f := range flows {
		from, _, _ := strings.Cut(f.From, "/")
		to, _, _ := strings.Cut(f.To, "/")
		combinations[fmt.Sprint(from, to, f.Protocol, f.Family)] = true
		senders[f.From], receivers[f.To] = true, true
	}
	if len(combinations) != len(flows) || len(senders) != 6 || len(receivers) != 6 {
		t.Errorf("%d combinations, %d sending and %d receiving pods; want 36, 6, 6", len(combinations), len(senders), len(receivers))
	}
}
