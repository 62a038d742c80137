package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestNetworkPolicy: rules in the forward hook of a node, where NetworkPolicy is
// enforced, decide over traffic that goes through the tunnel, before it enters
// and after it has left it: what they allow passes, what they deny does not.
func TestNetworkPolicy(t *testing.T) {
	privtest.Tool(t, "nft")
	for _, cni := range netlab.CNIs() {
		t.Run(string(cni), func(t *testing.T) {
			needs(t, cni)
			c := upWith(t, plain, netlab.Options{CNI: cni, Nodes: 2, Pods: 2})
			a, b := c.Nodes[0], c.Nodes[1]
			for _, pair := range [][2]*netlab.Node{{a, b}, {b, a}} {
				here, there := pair[0], pair[1]
				protected, friend, other := here.Pods[0], there.Pods[0], there.Pods[1]
				c.rules(here, "nft -f -", policyFor(protected, friend))
				// Who comes from a network that masquerades is known by a node's address
				// alone, with a tunnel or without: a policy decides for what goes out.
				talk := c.between
				if cni.Masquerades() {
					talk = c.oneWay
				}
				c.encrypted(func() {
					c.mustFlow(talk(protected, friend)...)
					c.mustNotFlow(talk(protected, other)...)
				})
				for rule, packets := range c.policyCounts(here) {
					if packets == 0 && !(cni.Masquerades() && strings.HasSuffix(rule, "_in")) {
						t.Errorf("%s: the rules never came to %q", here.Name, rule)
					}
				}
				c.rules(here, "nft -f -", "delete table inet netpol")
			}
			c.encrypted(func() { c.mustFlow(c.Flows()...) })
		})
	}
}

// policyFor is a NetworkPolicy for a pod: it may talk with one other pod alone,
// in both directions.
func policyFor(protected, friend *netlab.Pod) string {
	var b strings.Builder
	b.WriteString("table inet netpol {\n")
	for _, name := range []string{"allowed_in", "denied_in", "allowed_out", "denied_out"} {
		fmt.Fprintf(&b, "counter %s {}\n", name)
	}
	b.WriteString("chain forward {\ntype filter hook forward priority filter;\nct state established,related accept\n")
	for i, ip := range protected.IPs {
		family := "ip"
		if ip.Is6() {
			family = "ip6"
		}
		fmt.Fprintf(&b, "%[1]s daddr %[2]s %[1]s saddr %[3]s counter name allowed_in accept\n%[1]s daddr %[2]s counter name denied_in drop\n", family, ip, friend.IPs[i])
		fmt.Fprintf(&b, "%[1]s saddr %[2]s %[1]s daddr %[3]s counter name allowed_out accept\n%[1]s saddr %[2]s counter name denied_out drop\n", family, ip, friend.IPs[i])
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// policyCounts is how many packets came to each rule of policyFor.
func (c *cluster) policyCounts(n *netlab.Node) map[string]uint64 {
	c.t.Helper()
	out, err := n.Command(c.t.Context(), "nft", "--json", "list", "counters", "table", "inet", "netpol").Output()
	if err != nil {
		c.t.Fatalf("list the counters of %s: %v", n.Name, err)
	}
	var listed struct {
		Objects []struct {
			Counter *struct {
				Name    string `json:"name"`
				Packets uint64 `json:"packets"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		c.t.Fatalf("read the counters of %s: %v\n%s", n.Name, err, out)
	}
	counts := map[string]uint64{}
	for _, o := range listed.Objects {
		if o.Counter != nil {
			counts[o.Counter.Name] = o.Counter.Packets
		}
	}
	if len(counts) != 4 {
		c.t.Fatalf("%s has counters %v, want 4", n.Name, counts)
	}
	return counts
}

// between is one flow of each protocol and family between two pods, each way.
func (c *cluster) between(a, b *netlab.Pod) []netlab.Flow {
	return append(c.oneWay(a, b), c.oneWay(b, a)...)
}

func (c *cluster) oneWay(from, to *netlab.Pod) (flows []netlab.Flow) {
	for _, family := range c.Families {
		for _, p := range []netlab.Protocol{netlab.TCP, netlab.UDP, netlab.ICMP} {
			flows = append(flows, netlab.Flow{From: from.FullName(), To: to.FullName(), Protocol: p, Family: family})
		}
	}
	return flows
}
