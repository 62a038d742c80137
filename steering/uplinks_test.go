package steering

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUplinks(t *testing.T) {
	eth0, eth1, eth2 := nic(2, "eth0", "device"), nic(3, "eth1", "device"), nic(4, "eth2", "device")
	vxlan, cni := nic(5, "vxlan0", "vxlan"), nic(6, "cni0", "bridge")
	all := []device{eth2, eth1, eth0, vxlan, cni}
	routes := []route{via("0.0.0.0/0", 2, "gateway"), via("10.244.2.0/24", 3, "gateway"), via("10.244.1.0/24", 6)}
	want := sought{cluster: cidrs("10.244.0.0/16"), local: cidrs("10.244.1.0/24"), remote: cidrs("10.244.2.0/24"), tunnel: "wgsteer0"}
	for _, tc := range []struct {
		name    string
		network network
		names   []string
		want    []string
	}{
		{"by route", network{all, routes}, nil, []string{"eth0: default route", "eth1: route to pods 10.244.2.0/24"}},
		{"also by name", network{all, routes}, []string{"eth2", "eth0", "vxlan0", "eth7"},
			[]string{"eth0: default route", "eth1: route to pods 10.244.2.0/24", "eth2: named in the configuration"}},
		{"a bridge with pods on it too", network{all, append(routes, via("10.244.3.0/24", 6, "gateway"))}, nil,
			[]string{"eth0: default route", "eth1: route to pods 10.244.2.0/24"}},
		{"none", network{all, nil}, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, d := range tc.network.uplinks(want, tc.names) {
				got = append(got, line(d))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("uplinks (-want +got):\n%s", diff)
			}
		})
	}
}
