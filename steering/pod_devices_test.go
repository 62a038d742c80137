package steering

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJudgePodDevices(t *testing.T) {
	net := network{devices: []device{
		{index: 1, name: "lo", loopback: true},
		{index: 2, name: "eth0"},
		{index: 3, name: "cni0"},
		{index: 4, name: "eth1"},
		{index: 9, name: "wgs0"},
	}}
	sel := selection{targets: []target{{Device: Device{Index: 2, Name: "eth0", Reason: "default route"}}}}
	for _, test := range []struct {
		name       string
		patterns   []string
		behind     []int
		permissive bool
		want       []string // level: a part of the text
	}{
		{"all is well", []string{"cni0"}, []int{3}, false, nil},
		{"no pod yet", []string{"cni*"}, nil, false, nil},
		{"lo and the tunnel device are none", []string{"cni0"}, []int{1, 3, 9}, false, nil},
		{"a steered one is its programs'", []string{"cni0"}, []int{2, 3}, false, nil},
		{"no such device", []string{"cni0", "veth*"}, []int{3}, false, []string{"warn: podDevices name veth*, which no device fits"}},
		{"another device", []string{"cni0"}, []int{3, 4}, false, []string{"fail: behind eth1, which is none of podDevices (cni0): what is decrypted for them is dropped"}},
		{"the same, permissive", []string{"cni0"}, []int{3, 4}, true, []string{"warn: would be dropped by strict"}},
		{"too wide", []string{"cni0", "e*"}, []int{3, 4}, false, []string{"warn: podDevices (cni0, e*) fit eth0, which leads to other nodes: default route"}},
		{"all at once", []string{"eth0", "veth*"}, []int{3}, false, []string{"warn: fit eth0", "warn: veth*", "fail: behind cni0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ways := map[int]netip.Prefix{}
			for _, index := range test.behind {
				ways[index] = netip.MustParsePrefix("10.244.1.0/24")
			}
			found := podDevicesOf("wgs0", test.patterns).judge(net, sel, ways, !test.permissive)
			if len(found) != len(test.want) {
				t.Fatalf("%+v, want %d", found, len(test.want))
			}
			for i, f := range found {
				level, text, _ := strings.Cut(test.want[i], ": ")
				if string(f.Level) != level || !strings.Contains(f.Detail, text) || f.Mend == "" {
					t.Errorf("%+v, want %s", f, test.want[i])
				}
			}
		})
	}
}

func TestPodDevicesInForce(t *testing.T) {
	of := func(patterns ...string) podDevices { return podDevicesOf("wgs0", patterns) }
	if found := judgePodDevicesInForce(of("b", "a*", "b"), of("a*", "b")); found != nil {
		t.Errorf("the same: %+v", found)
	}
	want := []Finding{{Name: "pod-devices", Level: Fail, Detail: "podDevices in force: none; the configuration says: cni0, veth*", Mend: "reload or start wgsteer, or have `wgsteer guard` do it without it"}}
	if diff := cmp.Diff(want, judgePodDevicesInForce(of(), of("veth*", "cni0"))); diff != "" {
		t.Errorf("others (-want +got):\n%s", diff)
	}
}

func TestWaysToPods(t *testing.T) {
	net := network{routes: []route{
		{dst: netip.MustParsePrefix("0.0.0.0/0"), device: 2, gateway: true},
		{dst: netip.MustParsePrefix("10.244.0.0/16"), device: 5, gateway: true}, // of all of the cluster
		{dst: netip.MustParsePrefix("10.244.1.0/24"), device: 3},
		{dst: netip.MustParsePrefix("10.244.1.9/32"), device: 4, gateway: true},
		{dst: netip.MustParsePrefix("10.244.2.0/24"), device: 6, gateway: true},
		{dst: netip.MustParsePrefix("fd00:244::/32"), device: 7, table: 100},
	}}
	want := map[int]string{3: "10.244.1.0/24", 4: "10.244.1.9/32", 7: "fd00:244::/32"}
	got := map[int]string{}
	for device, to := range net.waysToPods(cidrs("10.244.1.0/24", "fd00:244:1::/64")) {
		got[device] = to.String()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
