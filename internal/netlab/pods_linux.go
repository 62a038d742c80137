package netlab

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// buildPods makes a node's pods and hangs them on it. It is called in the node.
func (l *Lab) buildPods(ctx context.Context, n *Node) error {
	if l.options.CNI.bridged() && l.options.CNI.plugin() == "" {
		if err := l.buildPodBridge(n); err != nil {
			return err
		}
	}
	for _, p := range n.Pods {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.makeNamespace(p.Namespace); err != nil {
			return err
		}
		if err := l.buildPod(ctx, p); err != nil {
			return fmt.Errorf("build %s: %w", p.Name, err)
		}
	}
	return nil
}

// buildPodBridge makes cni0, which is in the pods' network and their gateway.
func (l *Lab) buildPodBridge(n *Node) error {
	var own []netip.Prefix
	for _, p := range n.PodCIDRs {
		own = append(own, netip.PrefixFrom(host(p, 1), p.Bits()))
	}
	cni := &netlink.Bridge{LinkAttrs: attrs("cni0", l.options.PodMTU)}
	if err := netlink.LinkAdd(cni); err != nil {
		return fmt.Errorf("add bridge cni0: %w", err)
	}
	return bringUp(cni, own...)
}

func (l *Lab) buildPod(ctx context.Context, p *Pod) error {
	if plugin := l.options.CNI.plugin(); plugin != "" {
		return l.addByPlugin(ctx, p, plugin)
	}
	if !l.options.CNI.bridged() {
		return l.buildRoutedPod(p)
	}
	if err := addPort("cni0", "veth-"+p.Name, p.Namespace, "eth0", l.options.PodMTU); err != nil {
		return err
	}
	return p.Do(func() error { return p.configure(func(i int) int { return p.Node.PodCIDRs[i].Bits() }) })
}

// buildRoutedPod gives the pod a veth of its own. The node's end of each carries
// the same address, the pods' gateway; a host route leads to the pod.
func (l *Lab) buildRoutedPod(p *Pod) error {
	veth, err := addVeth("veth-"+p.Name, p.Namespace, "eth0", l.options.PodMTU)
	if err != nil {
		return err
	}
	var own []netip.Prefix
	for _, cidr := range p.Node.PodCIDRs {
		own = append(own, alone(host(cidr, 1)))
	}
	if err := bringUp(veth, own...); err != nil {
		return err
	}
	for _, ip := range p.IPs {
		if err := addRoute(veth, alone(ip), netip.Addr{}); err != nil {
			return err
		}
	}
	return p.Do(func() error { return p.configure(func(i int) int { return p.IPs[i].BitLen() }) })
}

// configure sets up the pod's own end; bits is the length of the i-th address's
// network. It is called in the pod.
func (p *Pod) configure(bits func(i int) int) error {
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	for i, cidr := range p.Node.PodCIDRs {
		if err := bringUp(eth0, netip.PrefixFrom(p.IPs[i], bits(i))); err != nil {
			return err
		}
		if err := addRoute(eth0, everything(cidr), host(cidr, 1)); err != nil {
			return err
		}
	}
	return nil
}

// alone is a network of one address.
func alone(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, ip.BitLen()) }
