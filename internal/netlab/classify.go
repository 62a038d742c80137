package netlab

import "github.com/wgsteer/wgsteer/wire"

// cluster is whose addresses are whose in the lab, with the UDP ports that its
// tunnels listen on.
func (l *Lab) cluster(ports []uint16) wire.Cluster {
	c := wire.Cluster{Ports: ports}
	for _, n := range l.Nodes {
		c.Nodes = append(c.Nodes, wire.Node{IPs: n.IPs, PodCIDRs: n.PodCIDRs})
	}
	return c
}
