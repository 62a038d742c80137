package netlab_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestNetworks lays each network and proves that it is what it says: where a
// packet for another node's pod leaves, and how it looks on the underlay.
func TestNetworks(t *testing.T) {
	bare := map[int]string{4: "10.244.1.2 > 10.244.2.2 TCP", 6: "fd00:10:244:1::2 > fd00:10:244:2::2 TCP"}
	masked := map[int]string{4: "192.0.2.1 > 10.244.2.2 TCP", 6: "2001:db8:0:1::1 > fd00:10:244:2::2 TCP"}
	inVXLAN := map[int]string{4: "192.0.2.1 > 192.0.2.2 VXLAN: " + bare[4], 6: "192.0.2.1 > 192.0.2.2 VXLAN: " + bare[6]}
	eth0 := map[int]string{4: "eth0", 6: "eth0"}
	for cni, want := range map[netlab.CNI]struct {
		device    map[int]string // where the route to another node's pod leads, by family
		gateway   string         // and by way of whom, in IPv4
		plaintext map[int]string // what the capture says of a frame
	}{
		netlab.Bridge:       {eth0, "192.0.2.2", bare},
		netlab.Routes:       {eth0, "192.0.2.2", bare},
		netlab.VXLAN:        {map[int]string{4: "vxlan1", 6: "vxlan1"}, "10.244.2.0", inVXLAN},
		netlab.IPIP:         {map[int]string{4: "ipip1", 6: "sit1"}, "192.0.2.2", bare},
		netlab.DefaultRoute: {eth0, "192.0.2.254", bare},
		netlab.PluginBridge: {eth0, "192.0.2.2", bare},
		netlab.PluginPTP:    {eth0, "192.0.2.2", bare},

		netlab.PluginBridgeMasq: {eth0, "192.0.2.2", masked},
		netlab.PluginPTPMasq:    {eth0, "192.0.2.2", masked},
	} {
		t.Run(string(cni), func(t *testing.T) {
			unsupported := ""
			if cni == netlab.IPIP {
				unsupported = "this kernel has no ipip devices, by which the CNI network ipip reaches other nodes' pods: load the kernel module for them"
			}
			lab := upOr(t, unsupported, netlab.Options{CNI: cni})
			a := lab.Nodes[0]
			for i, ip := range lab.Nodes[1].Pods[0].IPs {
				device, gateway := routeTo(t, a.Namespace, ip)
				if family := lab.Families[i]; device != want.device[family] || family == 4 && gateway != want.gateway {
					t.Errorf("IPv%d leaves by %s via %s, want %s via %s", family, device, gateway, want.device[family], want.gateway)
				}
			}
			captured(t, lab, lab.Flows())
			for _, family := range lab.Families {
				tcp := netlab.Flow{From: "node-a/pod-1", To: "node-b/pod-1", Protocol: netlab.TCP, Family: family}
				wire := captured(t, lab, []netlab.Flow{tcp})
				if len(wire.Plaintext) == 0 || wire.Plaintext[0] != want.plaintext[family] {
					t.Errorf("the wire shows %q, want %q", wire.Plaintext, want.plaintext[family])
				}
			}
		})
	}
}

// TestUplinks lays each uplink and proves that it carries the nodes' traffic.
func TestUplinks(t *testing.T) {
	for uplink, unsupported := range map[netlab.Uplink]string{
		netlab.UplinkBridge: "",
		netlab.UplinkBond:   "add bond0: this kernel has no bond devices, which the uplink bond is",
		netlab.UplinkVLAN:   "this kernel has no vlan devices, which the uplink vlan is",
	} {
		t.Run(string(uplink), func(t *testing.T) {
			lab := upOr(t, unsupported, netlab.Options{Uplink: uplink})
			for _, ip := range slices.Concat(lab.Nodes[1].IPs, lab.Nodes[1].Pods[0].IPs) {
				if device, _ := routeTo(t, lab.Nodes[0].Namespace, ip); device != uplink.Device() {
					t.Errorf("the way to %s is %s, want %s", ip, device, uplink.Device())
				}
			}
			if w := captured(t, lab, lab.Flows()); w.PlaintextPod.Frames == 0 {
				t.Errorf("the capture does not see the pods: %+v", w)
			}
		})
	}
}

// upOr brings up a lab. Where the kernel cannot, the test is that the error wants
// what it says; "": any kernel can.
func upOr(t *testing.T, want string, o netlab.Options) *netlab.Lab {
	t.Helper()
	privtest.Root(t)
	o.Pods, o.Reaper = 2, reaper()
	lab, err := netlab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	err = lab.Up(t.Context())
	if want != "" && errors.Is(err, errors.ErrUnsupported) {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want %q in it", err, want)
		}
		if l := left(t, lab.Run); len(l) > 0 {
			t.Errorf("left over: %v", l)
		}
		t.Skip(err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		privtest.Missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Down(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

// TestAMissingPlugin is told by name, with where it was sought and what brings it.
func TestAMissingPlugin(t *testing.T) {
	_, err := netlab.FindPlugin([]string{"/nosuch/a", "/nosuch/b"}, "ptp")
	const want = "no CNI plugin ptp in /nosuch/a or /nosuch/b: install the package containernetworking-plugins"
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// captured runs flows, all of which have to work, and returns what the underlay
// saw.
func captured(t *testing.T, lab *netlab.Lab, flows []netlab.Flow) netlab.Wire {
	t.Helper()
	capture, err := lab.Capture(51871)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range lab.RunFlows(t.Context(), flows, netlab.FlowOptions{}) {
		if !r.OK {
			t.Error(r.Error)
		}
	}
	wire, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// routeTo is how a namespace would send to an address.
func routeTo(t *testing.T, n netlab.Namespace, ip netip.Addr) (device, gateway string) {
	t.Helper()
	privtest.Tool(t, "ip")
	out, err := n.Command(t.Context(), "ip", "-oneline", "route", "get", ip.String()).Output()
	if err != nil {
		t.Fatalf("ip route get %s: %v", ip, err)
	}
	words := strings.Fields(string(out))
	for i, w := range words[:len(words)-1] {
		switch w {
		case "dev":
			device = words[i+1]
		case "via":
			gateway = words[i+1]
		}
	}
	return device, gateway
}
