package netlab

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Class says what a frame on the underlay is.
type Class int

// The classes.
const (
	// Other is everything else: neighbour discovery, the nodes' own traffic,
	// later fragments of the tunnel's datagrams.
	Other Class = iota
	// WireGuard is a UDP datagram of WireGuard's shape between two nodes, to or
	// from the port they listen on.
	WireGuard
	// PlaintextPod is a packet between pods of different nodes that can be read,
	// be it bare or inside an encapsulation (VXLAN, Geneve, GRE, IPIP).
	PlaintextPod
	// PlaintextPodNode is such a packet between a pod and another node.
	PlaintextPodNode
	// Malformed claims to be IP but cannot be parsed: it may be anything.
	Malformed
)

var classNames = [...]string{"other", "wireguard", "plaintext-pod", "plaintext-pod-node", "malformed"}

func (c Class) String() string { return classNames[c] }

// Classifier tells frames apart by the addresses of a lab.
type Classifier struct {
	nodes map[netip.Addr]int
	pods  map[netip.Prefix]int // pod CIDRs; the value is the node's number
	bits  map[int]int          // the length of the pod CIDRs, by family
	ports map[uint16]bool
}

// Classifier makes one for the lab's addresses and the UDP ports that its
// tunnels listen on.
func (l *Lab) Classifier(ports ...uint16) *Classifier {
	c := &Classifier{nodes: map[netip.Addr]int{}, pods: map[netip.Prefix]int{}, bits: map[int]int{}, ports: map[uint16]bool{}}
	for i, n := range l.Nodes {
		for _, ip := range n.IPs {
			c.nodes[ip] = i
		}
		for _, p := range n.PodCIDRs {
			c.pods[p] = i
			c.bits[family(p.Addr())] = p.Bits()
		}
	}
	for _, p := range ports {
		c.ports[p] = true
	}
	return c
}

// headLength is as much of a frame as is looked at: room for headers within
// headers and for WireGuard's.
const headLength = 512

// Classify judges an Ethernet frame, of which data may be the beginning only.
func (c *Classifier) Classify(data []byte) Class {
	class, _ := c.describe(data)
	return class
}

// describe also says between whom the frame goes, for people. It looks at each
// packet within the frame, the outermost first; what can be read counts before
// what is encrypted.
func (c *Classifier) describe(data []byte) (class Class, text string) {
	var from, to netip.Addr
	found := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy).Layers()
	for i, layer := range found {
		switch l := layer.(type) {
		case *layers.IPv4:
			from, to = addr(l.SrcIP), addr(l.DstIP)
		case *layers.IPv6:
			from, to = addr(l.SrcIP), addr(l.DstIP)
		case *layers.UDP:
			if inner := vxlan(l); inner != nil {
				if in, text := c.describe(inner); in != Other {
					return in, fmt.Sprintf("%s > %s VXLAN: %s", from, to, text)
				}
			}
			if c.wireGuard(from, to, l) {
				class, text = WireGuard, fmt.Sprintf("%s > %s WireGuard", from, to)
			}
			continue
		default:
			continue
		}
		if !from.IsValid() { // the parser stops before the addresses of a header that it refuses
			return Malformed, fmt.Sprintf("%v that cannot be parsed", layer.LayerType())
		}
		if plain := c.between(from, to); plain != Other {
			return plain, fmt.Sprintf("%s > %s %s", from, to, above(found[i+1:]))
		}
	}
	return class, text
}

// between judges by addresses alone.
func (c *Classifier) between(from, to netip.Addr) Class {
	fromPod, fromIsPod := c.podOf(from)
	toPod, toIsPod := c.podOf(to)
	fromNode, fromIsNode := c.nodes[from]
	toNode, toIsNode := c.nodes[to]
	switch {
	case fromIsPod && toIsPod && fromPod != toPod:
		return PlaintextPod
	case fromIsPod && toIsNode && fromPod != toNode, fromIsNode && toIsPod && fromNode != toPod:
		return PlaintextPodNode
	}
	return Other
}

// podOf returns the number of the node whose pods have the address.
func (c *Classifier) podOf(ip netip.Addr) (node int, ok bool) {
	p, err := ip.Prefix(c.bits[family(ip)])
	if err != nil {
		return 0, false
	}
	node, ok = c.pods[p]
	return node, ok
}

// wireGuard tells whether a datagram is between nodes, on a tunnel's port, and
// of the shape of one of the four messages (WireGuard's paper, section 5.4): a
// type, three zero bytes and the length of that type. A GSO frame of several
// datagrams is longer.
func (c *Classifier) wireGuard(from, to netip.Addr, udp *layers.UDP) bool {
	_, fromNode := c.nodes[from]
	_, toNode := c.nodes[to]
	if !fromNode || !toNode || !c.ports[uint16(udp.SrcPort)] && !c.ports[uint16(udp.DstPort)] || len(udp.Payload) < 4 {
		return false
	}
	const header = 8
	length := int(udp.Length) - header
	if udp.Length == 0 { // a jumbogram, RFC 2675
		length = len(udp.Payload)
	}
	switch binary.LittleEndian.Uint32(udp.Payload) {
	case 1:
		return length == 148
	case 2:
		return length == 92
	case 3:
		return length == 64
	case 4:
		return length >= 32
	}
	return false
}

// vxlan returns the frame inside a datagram on the port that Linux used for
// VXLAN before there was a standard one, and CNIs still do. gopacket knows the
// standard one.
func vxlan(udp *layers.UDP) []byte {
	const port, header = 8472, 8
	if udp.DstPort != port || len(udp.Payload) <= header {
		return nil
	}
	return udp.Payload[header:]
}

// above names what a packet carries.
func above(rest []gopacket.Layer) string {
	if len(rest) == 0 {
		return "empty"
	}
	return rest[0].LayerType().String()
}

func addr(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}
