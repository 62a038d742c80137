package e2e_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// A Service as kube-proxy makes it: on each node, a cluster address and a port
// of the node's own lead to a pod by DNAT. What does not come from a pod, and
// whatever comes to the node's port, is masqueraded too.
const (
	servicePort = 80
	nodePort    = 30080
)

var serviceIPs = map[int]netip.Addr{4: netip.MustParseAddr("10.96.0.10"), 6: netip.MustParseAddr("fd00:10:96::a")}

// proxies write a Service's rules for one node, and take them away: by family,
// the tool that reads them.
var proxies = map[string]struct {
	tools map[int]string
	rules func(clusterCIDR netip.Prefix, backend netip.AddrPort) string
	none  map[int]string
}{
	"nftables": {map[int]string{4: "nft -f -", 6: "nft -f -"}, nftService,
		map[int]string{4: "delete table ip service", 6: "delete table ip6 service"}},
	"iptables": {map[int]string{4: "iptables-restore --noflush", 6: "ip6tables-restore --noflush"}, iptablesService,
		map[int]string{4: noIPTablesService, 6: noIPTablesService}},
}

func nftService(cluster netip.Prefix, backend netip.AddrPort) string {
	family, ip := "ip", serviceIPs[4]
	if cluster.Addr().Is6() {
		family, ip = "ip6", serviceIPs[6]
	}
	return strings.NewReplacer("FAMILY", family, "CLUSTER", cluster.String(), "SERVICE", ip.String(),
		"BACKEND", backend.String(), "NODEPORT", fmt.Sprint(nodePort), "PORT", fmt.Sprint(servicePort)).Replace(`
table FAMILY service {
	chain service {
		FAMILY saddr != CLUSTER FAMILY daddr SERVICE meta mark set meta mark | 0x4000
		FAMILY daddr SERVICE meta l4proto { tcp, udp } th dport PORT dnat to BACKEND
		FAMILY daddr != SERVICE fib daddr type local meta l4proto { tcp, udp } th dport NODEPORT meta mark set meta mark | 0x4000 dnat to BACKEND
	}
	chain prerouting { type nat hook prerouting priority dstnat; jump service; }
	chain output { type nat hook output priority -100; jump service; }
	chain postrouting { type nat hook postrouting priority srcnat; meta mark & 0x4000 == 0x4000 masquerade; }
}
`)
}

func iptablesService(cluster netip.Prefix, backend netip.AddrPort) string {
	ip := serviceIPs[4]
	if cluster.Addr().Is6() {
		ip = serviceIPs[6]
	}
	var b strings.Builder
	b.WriteString("*nat\n:SERVICE -\n-A PREROUTING -j SERVICE\n-A OUTPUT -j SERVICE\n")
	fmt.Fprintf(&b, "-A SERVICE ! -s %s -d %s -j MARK --or-mark 0x4000\n", cluster, ip)
	for _, p := range []string{"tcp", "udp"} {
		fmt.Fprintf(&b, "-A SERVICE -d %s -p %s --dport %d -j DNAT --to-destination %s\n", ip, p, servicePort, backend)
		fmt.Fprintf(&b, "-A SERVICE -m addrtype --dst-type LOCAL -p %s --dport %d -j MARK --or-mark 0x4000\n", p, nodePort)
		fmt.Fprintf(&b, "-A SERVICE -m addrtype --dst-type LOCAL -p %s --dport %d -j DNAT --to-destination %s\n", p, nodePort, backend)
	}
	b.WriteString("-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE\nCOMMIT\n")
	return b.String()
}

// noIPTablesService leaves the rules of others, a CNI's for instance.
const noIPTablesService = `*nat
-D PREROUTING -j SERVICE
-D OUTPUT -j SERVICE
-D POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
-F SERVICE
-X SERVICE
COMMIT
`

// TestServices: what the nodes' address translation sends to a pod elsewhere, of
// pods, nodes and clients outside the cluster, goes through the tunnel, and so
// does what comes back.
func TestServices(t *testing.T) {
	for _, tool := range []string{"nft", "iptables-restore", "ip6tables-restore"} {
		privtest.Tool(t, tool)
	}
	for _, cni := range netlab.CNIs() {
		t.Run(string(cni), func(t *testing.T) {
			needs(t, cni)
			c := upWith(t, plain, netlab.Options{CNI: cni, Nodes: 2})
			c.setRPFilter("1") // the strictest; TestNetworks has the others
			backend := c.find("node-b/pod-1")
			at := map[int]netip.AddrPort{}
			for _, family := range c.Families {
				at[family] = c.answer(backend, family)
			}
			for name, p := range proxies {
				t.Logf("with %s", name)
				w := c.encrypted(func() {
					for i, family := range c.Families {
						for _, n := range c.Nodes {
							c.rules(n, p.tools[family], p.rules(c.ClusterCIDRs[i], at[family]))
						}
						c.useService(family, cni.Masquerades())
						for _, n := range c.Nodes {
							c.rules(n, p.tools[family], p.none[family])
						}
					}
				})
				if w.WireGuard.Frames == 0 {
					t.Errorf("nothing went through the tunnel: %+v", w)
				}
			}
			for _, n := range c.Nodes {
				noDrops(t, n.Name, c.status(n.Name).Steering)
			}
		})
	}
}

// useService has each kind of client use the Service of a pod on node-b, and
// looks whom the pod takes it for.
func (c *cluster) useService(family int, masquerades bool) {
	c.t.Helper()
	node, pod, outside := c.find("node-a"), c.find("node-a/pod-1"), c.find("gateway")
	service := netip.AddrPortFrom(serviceIPs[family], servicePort)
	nodeIP, err := node.IP(family)
	if err != nil {
		c.t.Fatal(err)
	}
	ofNode := slices.Clone(node.IPs)
	for _, cidr := range c.node("node-a").PodCIDRs {
		ofNode = append(ofNode, cidr.Addr()) // of its overlay device
	}
	ofPod := pod.IPs
	if masquerades {
		ofPod = ofNode
	}
	for _, use := range []struct {
		client netlab.Endpoint
		at     netip.AddrPort
		seen   []netip.Addr // one of these; others say that rules did not apply
	}{
		{pod, service, ofPod},
		{node, service, ofNode},
		{pod, netip.AddrPortFrom(nodeIP, nodePort), ofNode},
		{outside, netip.AddrPortFrom(nodeIP, nodePort), ofNode},
	} {
		for _, network := range []string{"tcp", "udp"} {
			seen, err := ask(c.t.Context(), use.client, fmt.Sprint(network, family), use.at)
			if err != nil {
				c.t.Errorf("%s asks %s by %s: %v", use.client.Name, use.at, network, err)
			} else if !slices.Contains(use.seen, seen) {
				c.t.Errorf("%s asks %s by %s and is taken for %s, want one of %s", use.client.Name, use.at, network, seen, use.seen)
			}
		}
	}
}

func (c *cluster) find(name string) netlab.Endpoint {
	c.t.Helper()
	e, err := c.Find(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

// rules feeds a tool on a node with rules.
func (c *cluster) rules(n *netlab.Node, tool, text string) {
	c.t.Helper()
	words := strings.Fields(tool)
	cmd := n.Command(c.t.Context(), words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s on %s: %v\n%s\n%s", tool, n.Name, err, out, text)
	}
}
