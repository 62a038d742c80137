package steering_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/steering"
)

// two is a valid state with two peers.
func two() steering.State {
	s := steered(7)
	s.Peers = append(s.Peers, steering.Peer{
		Name: "node-c", PodCIDRs: prefixes("10.244.3.0/24"),
		NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.3")}, Endpoint: netip.MustParseAddr("198.51.100.3"),
	})
	return s
}

func TestValidate(t *testing.T) {
	addr := netip.MustParseAddr
	for _, test := range []struct {
		name   string
		change func(*steering.State)
		want   string // part of the error; "" none
	}{
		{"as it is", func(s *steering.State) {}, ""},
		{"zero", func(s *steering.State) { *s = steering.State{} }, ""},
		{"a node in the cluster CIDR", func(s *steering.State) { s.ClusterCIDRs = prefixes("10.0.0.0/8"); s.LocalNodeIPs[0] = addr("10.1.2.3") },
			"cluster CIDR 10.0.0.0/8 contains this node's address 10.1.2.3"},
		{"a peer's node in the cluster CIDR", func(s *steering.State) { s.Peers[1].NodeIPs[0] = addr("10.244.99.1") },
			`peer "node-c": cluster CIDR 10.244.0.0/16 contains node address 10.244.99.1`},
		{"an endpoint in the cluster CIDR", func(s *steering.State) { s.Peers[1].Endpoint = addr("10.244.99.1") },
			`peer "node-c": cluster CIDR 10.244.0.0/16 contains endpoint 10.244.99.1`},
		{"no endpoint", func(s *steering.State) { s.Peers[1].Endpoint = netip.Addr{} }, ""},
		{"pods outside the cluster", func(s *steering.State) { s.Peers[1].PodCIDRs = prefixes("10.245.3.0/24") },
			`pod CIDR 10.245.3.0/24 is in none of the cluster CIDRs`},
		{"local pods outside the cluster", func(s *steering.State) { s.LocalPodCIDRs = prefixes("10.0.0.0/8") },
			`pod CIDR 10.0.0.0/8 is in none of the cluster CIDRs`},
		{"pods are the cluster", func(s *steering.State) { s.Peers[1].PodCIDRs = prefixes("10.244.0.0/16") }, ""},
		{"two peers, one pod CIDR", func(s *steering.State) { s.Peers[1].PodCIDRs = prefixes("10.244.2.0/24") },
			`peer "node-c": pod CIDR 10.244.2.0/24 is that of peer "node-b"`},
		{"pods within pods", func(s *steering.State) { s.Peers[1].PodCIDRs = prefixes("10.244.2.128/25") }, ""},
		{"this node's pods", func(s *steering.State) { s.Peers[1].PodCIDRs = prefixes("10.244.1.0/24") },
			`peer "node-c": pod CIDR 10.244.1.0/24 is that of this node's pods`},
		{"two peers, one address", func(s *steering.State) { s.Peers[1].NodeIPs[0] = peerNode },
			`peer "node-c": node address 192.0.2.2 is that of peer "node-b"`},
		{"this node's address", func(s *steering.State) { s.Peers[1].NodeIPs[0] = nodeAddr },
			`peer "node-c": node address 192.0.2.1 is that of this node`},
		{"a name twice", func(s *steering.State) { s.Peers[1].Name = "node-b" }, `peer "node-b" is given twice`},
		{"the longest name", func(s *steering.State) { s.Peers[1].Name = strings.Repeat("n", 255) }, ""},
		{"too long a name", func(s *steering.State) { s.Peers[1].Name = strings.Repeat("n", 256) }, "256 bytes, want at most 255"},
		{"no name", func(s *steering.State) { s.Peers[1].Name = "" }, `peer name ""`},
		{"bits beyond the length", func(s *steering.State) { s.ClusterCIDRs = append(s.ClusterCIDRs, netip.MustParsePrefix("10.9.1.0/16")) },
			"cluster CIDR 10.9.1.0/16 has bits beyond its length, want 10.9.0.0/16"},
		{"IPv6 that covers IPv4", func(s *steering.State) { s.ClusterCIDRs = append(s.ClusterCIDRs, netip.MustParsePrefix("::/0")) },
			"cluster CIDR ::/0 covers IPv4-mapped addresses"},
		{"IPv4 in IPv6", func(s *steering.State) { s.LocalNodeIPs[0] = addr("::ffff:192.0.2.1") }, "want a plain IPv4 or IPv6 address"},
		{"a node CIDR in the cluster's", func(s *steering.State) { s.NodeCIDRs = prefixes("10.244.9.0/24") },
			"node CIDR 10.244.9.0/24 overlaps cluster CIDR 10.244.0.0/16"},
		{"a node CIDR around the cluster's", func(s *steering.State) { s.NodeCIDRs = prefixes("10.0.0.0/8") },
			"node CIDR 10.0.0.0/8 overlaps cluster CIDR 10.244.0.0/16"},
		{"a node CIDR with bits beyond its length", func(s *steering.State) { s.NodeCIDRs = prefixes("192.0.2.1/24") },
			"node CIDR 192.0.2.1/24 has bits beyond its length, want 192.0.2.0/24"},
		{"pods' devices", func(s *steering.State) { s.PodDevices = []string{"cni0", "veth*", "fifteen-letters", "fourteen-byte*"} }, ""},
		{"every device for pods'", func(s *steering.State) { s.PodDevices = []string{"*"} }, `pods' device "*": every device fits; leave it out`},
		{"a * inside of a name", func(s *steering.State) { s.PodDevices = []string{"ve*0"} }, `pods' device "ve*0": a * stands at the end, and once`},
		{"a long name", func(s *steering.State) { s.PodDevices = []string{"sixteen-letters-"} }, `pods' device "sixteen-letters-": the name of a network device has 1 to 15 bytes, a * with them`},
		{"a long start", func(s *steering.State) { s.PodDevices = []string{"fifteen-letters*"} }, `pods' device "fifteen-letters*": the name of a network device has 1 to 15 bytes`},
		{"a name with a slash", func(s *steering.State) { s.PodDevices = []string{"cni/*"} }, `pods' device "cni/*": the name of a network device holds no slash`},
		{"many names", func(s *steering.State) { s.PodDevices = slices.Repeat([]string{"cni0"}, 33) }, "33 names of pods' devices, want at most 32"},
		{"nodes in and outside of node CIDRs", func(s *steering.State) { s.NodeCIDRs = prefixes("192.0.2.2/31") }, ""},
		{"an invalid prefix", func(s *steering.State) { s.LocalPodCIDRs[0] = netip.Prefix{} }, "pod CIDR is not a valid prefix"},
		{"a wide tunnel address", func(s *steering.State) { s.Tunnel.Addresses = prefixes("192.0.2.0/24") },
			"tunnel address 192.0.2.0/24: want a single address"},
		{"a ninth port", func(s *steering.State) { s.EncapsulationPorts.VXLAN = make([]uint16, 9) }, "9 ports for VXLAN and 1 for Geneve: there is room for 8 of each"},
		{"port 0", func(s *steering.State) { s.EncapsulationPorts.Geneve = []uint16{6081, 0} }, "encapsulation port 0"},
		{"one port for both", func(s *steering.State) { s.EncapsulationPorts.Geneve = []uint16{8472} }, "encapsulation port 8472: either VXLAN or Geneve"},
		{"other ports", func(s *steering.State) {
			s.EncapsulationPorts = steering.EncapsulationPorts{VXLAN: []uint16{1}, Geneve: []uint16{2}}
		}, ""},
		{"a negative index", func(s *steering.State) { s.Tunnel.Index = -1 }, "index -1 is negative"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := two()
			test.change(&s)
			err := s.Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestRefused: without the refused peers the rest is valid.
func TestRefused(t *testing.T) {
	s := two()
	s.Peers = append(s.Peers, steering.Peer{Name: "node-a", PodCIDRs: prefixes("0.0.0.0/0")}, steering.Peer{Name: "node-d", NodeIPs: []netip.Addr{peerNode}})
	refused := s.Refused()
	var names []string
	var left []steering.Peer
	for _, p := range s.Peers {
		if refused[p.Name] != nil {
			names = append(names, p.Name)
		} else {
			left = append(left, p)
		}
	}
	if diff := cmp.Diff([]string{"node-a", "node-d"}, names); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	s.Peers = left
	if err := s.Validate(); err != nil {
		t.Errorf("without them: %v", err)
	}
}

func TestNewValidates(t *testing.T) {
	for _, test := range []struct {
		name    string
		options steering.Options
		want    string
	}{
		{"no bpffs", steering.Options{Name: "wg0"}, "absolute path"},
		{"relative", steering.Options{BPFFS: "sys/fs/bpf", Name: "wg0"}, "absolute path"},
		{"no name", steering.Options{BPFFS: "/sys/fs/bpf/x"}, "1 to 15 bytes"},
		{"long name", steering.Options{BPFFS: "/sys/fs/bpf/x", Name: "wgsteer-sixteen0"}, "1 to 15 bytes"},
		{"a dot", steering.Options{BPFFS: "/sys/fs/bpf/x", Name: "wg.0"}, "no dot"},
		{"a slash", steering.Options{BPFFS: "/sys/fs/bpf/x", Name: "a/b"}, "without slash"},
		{"negative", steering.Options{BPFFS: "/sys/fs/bpf/x", Name: "wg0", VerifyEvery: -1}, "negative"},
		{"right", steering.Options{BPFFS: "/sys/fs/bpf/x", Name: "wgsteer0"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := steering.New(test.options)
			if (s == nil) != (err != nil) || (err == nil) != (test.want == "") {
				t.Fatalf("got %v, %v", s, err)
			}
			if err != nil {
				wantText(t, err.Error(), test.want)
				return
			}
			if err := errors.Join(s.Close(), s.Close()); err != nil {
				t.Errorf("close twice: %v", err)
			}
			if err := s.Apply(t.Context(), steering.State{}); err == nil {
				t.Error("a closed Steering applied a state")
			}
		})
	}
}
