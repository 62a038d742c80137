package kubee2e_test

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// What follows changes the network of a lab of kind netlab.Bridge, as administrators and
// a CNI do. It must not run beside flows, which read the lab's addresses.

// sh runs a shell script in a namespace.
func (c *cluster) sh(n netlab.Namespace, script string, args ...any) {
	c.t.Helper()
	script = fmt.Sprintf(script, args...)
	if out, err := n.Command(c.t.Context(), "sh", "-ec", script).CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// move gives a node other addresses on the underlay, and its old ones to nobody.
func (c *cluster) move(name string, to ...netip.Addr) {
	c.t.Helper()
	n := c.node(name)
	// Else the other addresses of a network go with the first.
	c.sh(n.Namespace, "echo 1 >/proc/sys/net/ipv4/conf/eth0/promote_secondaries")
	for i, ip := range to {
		bits := map[bool]int{true: 24, false: 64}[ip.Is4()]
		c.sh(n.Namespace, "ip addr add %[1]s/%[2]d dev eth0; ip addr del %[3]s/%[2]d dev eth0", ip, bits, n.IPs[i])
	}
	n.IPs = to
	c.route()
}

// swap gives each of two nodes the other's pod CIDRs, and their pods new addresses.
func (c *cluster) swap(one, other string) {
	c.t.Helper()
	a, b := c.node(one), c.node(other)
	for _, n := range []*netlab.Node{a, b} {
		c.sh(n.Namespace, "ip addr flush dev cni0 scope global; ip route flush proto boot; ip -6 route flush proto boot")
		for _, p := range n.Pods {
			c.sh(p.Namespace, "ip addr flush dev eth0 scope global")
		}
	}
	a.PodCIDRs, b.PodCIDRs = b.PodCIDRs, a.PodCIDRs
	for i := range a.Pods {
		a.Pods[i].IPs, b.Pods[i].IPs = b.Pods[i].IPs, a.Pods[i].IPs
	}
	for _, n := range []*netlab.Node{a, b} {
		for i, cidr := range n.PodCIDRs {
			gateway := cidr.Addr().Next()
			c.sh(n.Namespace, "ip addr add %s/%d dev cni0 nodad", gateway, cidr.Bits())
			for _, p := range n.Pods {
				c.sh(p.Namespace, "ip addr add %s/%d dev eth0 nodad; ip route replace default via %s", p.IPs[i], cidr.Bits(), gateway)
			}
		}
	}
	c.route()
}

// route tells each node the way to the others' pods, and to the world.
func (c *cluster) route() {
	c.t.Helper()
	gateway, err := c.Find("gateway")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, n := range c.Nodes {
		var script strings.Builder
		for _, ip := range gateway.IPs {
			fmt.Fprintf(&script, "ip route replace default via %s dev eth0\n", ip)
		}
		for _, o := range c.Nodes {
			for i, cidr := range o.PodCIDRs {
				if o != n {
					fmt.Fprintf(&script, "ip route replace %s via %s dev eth0\n", cidr, o.IPs[i])
				}
			}
		}
		c.sh(n.Namespace, "%s", script.String())
	}
}
