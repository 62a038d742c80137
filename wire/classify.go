package wire

import (
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Class says what a frame is.
type Class int

// The classes.
const (
	// Other is everything else: neighbour discovery, the nodes' own traffic,
	// later fragments of the tunnels' datagrams.
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

// Packet is what a frame holds, as far as that matters here.
type Packet struct {
	Class Class
	// From and To are those by which it was judged: the innermost packet's that
	// can be read. Ports are 0 but for WireGuard.
	From, To netip.AddrPort
	// Message is the beginning of a WireGuard message; it is part of the frame.
	Message []byte
	// Text describes, for people, what is in plaintext or malformed.
	Text string
}

// Classifier tells frames apart by the addresses of a cluster.
type Classifier struct {
	owners
	ports         map[uint16]bool
	encapsulation map[uint16]gopacket.LayerType // by UDP port: what gopacket does not know by itself
}

// NewClassifier makes one. It does not change, and may be used concurrently.
func NewClassifier(c Cluster) *Classifier {
	made := &Classifier{owners: newOwners(c), ports: map[uint16]bool{}}
	for _, p := range c.Ports {
		made.ports[p] = true
	}
	// Linux had a port for VXLAN before there was a standard one, and CNIs keep it.
	made.encapsulation = map[uint16]gopacket.LayerType{8472: layers.LayerTypeVXLAN}
	for _, p := range c.VXLAN {
		made.encapsulation[p] = layers.LayerTypeVXLAN
	}
	for _, p := range c.Geneve {
		made.encapsulation[p] = layers.LayerTypeGeneve
	}
	return made
}

// Classify judges a frame, of whose bytes the beginning suffices.
func (c *Classifier) Classify(f Frame) Packet {
	if f.Ethernet {
		return c.packet(layers.LayerTypeEthernet, f.Head)
	}
	switch layers.EthernetType(f.Protocol) {
	case layers.EthernetTypeIPv4:
		return c.packet(layers.LayerTypeIPv4, f.Head)
	case layers.EthernetTypeIPv6:
		return c.packet(layers.LayerTypeIPv6, f.Head)
	}
	return Packet{}
}

// packet looks at each packet within the data, the outermost first; what can be
// read counts before what is encrypted.
func (c *Classifier) packet(first gopacket.LayerType, data []byte) (found Packet) {
	var from, to netip.Addr
	all := gopacket.NewPacket(data, first, gopacket.NoCopy).Layers()
	for i, layer := range all {
		switch l := layer.(type) {
		case *layers.IPv4:
			from, to = address(l.SrcIP), address(l.DstIP)
		case *layers.IPv6:
			from, to = address(l.SrcIP), address(l.DstIP)
		case *layers.UDP:
			if kind, ok := c.encapsulation[uint16(l.DstPort)]; ok {
				if in := c.packet(kind, l.Payload); in.Class != Other {
					in.Text = fmt.Sprintf("%s > %s %v: %s", from, to, kind, in.Text)
					return in
				}
			}
			if c.wireGuard(from, to, l) {
				found = Packet{Class: WireGuard, Message: l.Payload,
					From: netip.AddrPortFrom(from, uint16(l.SrcPort)), To: netip.AddrPortFrom(to, uint16(l.DstPort))}
			}
			continue
		default:
			continue
		}
		if !from.IsValid() { // the parser stops before the addresses of a header that it refuses
			return Packet{Class: Malformed, Text: fmt.Sprintf("%v that cannot be parsed", layer.LayerType())}
		}
		if class := c.between(from, to); class != Other {
			return Packet{Class: class, From: netip.AddrPortFrom(from, 0), To: netip.AddrPortFrom(to, 0),
				Text: fmt.Sprintf("%s > %s %s", from, to, above(all[i+1:]))}
		}
	}
	return found
}

// wireGuard tells whether a datagram is between nodes, on a tunnel's port, and
// of the shape of one of WireGuard's messages.
func (c *Classifier) wireGuard(from, to netip.Addr, udp *layers.UDP) bool {
	_, fromNode := c.nodes[from]
	_, toNode := c.nodes[to]
	if !fromNode || !toNode || !c.ports[uint16(udp.SrcPort)] && !c.ports[uint16(udp.DstPort)] {
		return false
	}
	const header = 8
	length := int(udp.Length) - header
	if udp.Length == 0 { // a jumbogram, RFC 2675
		length = len(udp.Payload)
	}
	return shaped(udp.Payload, length)
}

// above names what a packet carries.
func above(rest []gopacket.Layer) string {
	if len(rest) == 0 {
		return "empty"
	}
	return rest[0].LayerType().String()
}

func address(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}
