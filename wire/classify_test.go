package wire_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/wgsteer/wgsteer/wire"
)

const port = 51871

// A cluster of two nodes that are known, and of others.
var cluster = wire.Cluster{
	Nodes: []wire.Node{
		{IPs: addrs(nodeA, nodeA6), PodCIDRs: prefixes("10.244.1.0/24", "fd00:10:244:1::/64")},
		{IPs: addrs(nodeB, nodeB6), PodCIDRs: prefixes("10.244.2.0/24", "fd00:10:244:2::/64")},
	},
	Pods:      prefixes("10.244.0.0/16"),
	NodeCIDRs: prefixes("192.0.2.0/28"),
	Ports:     []uint16{port},
	VXLAN:     []uint16{4790}, Geneve: []uint16{6082},
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// seen is an Ethernet frame that left over device 1.
func seen(data []byte) wire.Frame {
	return wire.Frame{Device: 1, Outgoing: true, Ethernet: true, Head: data, Length: len(data)}
}

const (
	nodeA, nodeB     = "192.0.2.1", "192.0.2.2"
	nodeA6, nodeB6   = "2001:db8:0:1::1", "2001:db8:0:1::2"
	podA, podA2      = "10.244.1.2", "10.244.1.3"
	podB, podUnknown = "10.244.2.2", "10.244.77.2"
	podA6, podB6     = "fd00:10:244:1::2", "fd00:10:244:2::2"
)

var ether = &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}}

// frame serializes layers below an Ethernet header.
func frame(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	e := *ether
	switch ls[0].(type) {
	case *layers.IPv4:
		e.EthernetType = layers.EthernetTypeIPv4
	case *layers.IPv6:
		e.EthernetType = layers.EthernetTypeIPv6
	case *layers.ARP:
		e.EthernetType = layers.EthernetTypeARP
	case *layers.Dot1Q:
		e.EthernetType = layers.EthernetTypeDot1Q
	}
	return serialize(t, append([]gopacket.SerializableLayer{&e}, ls...)...)
}

func serialize(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func ip(from, to string, protocol layers.IPProtocol) gopacket.SerializableLayer {
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	if src.Is4() {
		return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

func udp(from, to uint16) *layers.UDP {
	return &layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(to)}
}

// message is a payload that begins as WireGuard's messages of a type do.
func message(kind uint32, length int) gopacket.Payload {
	p := make([]byte, length)
	binary.LittleEndian.PutUint32(p, kind)
	return p
}

func TestClassify(t *testing.T) {
	const (
		isUDP, isTCP = layers.IPProtocolUDP, layers.IPProtocolTCP
		isIP4, isIP6 = layers.IPProtocolIPv4, layers.IPProtocolIPv6
		isGRE        = layers.IPProtocolGRE
	)
	tcp := &layers.TCP{SrcPort: 1234, DstPort: 80, DataOffset: 5, SYN: true}
	type stack = []gopacket.SerializableLayer
	datagram := func(from, to string, payload gopacket.Payload) []byte {
		return frame(t, ip(from, to, isUDP), udp(port, port), payload)
	}
	inner := frame(t, ip(podA, podB, isTCP), tcp)
	fragment := ip(podA, podB, isUDP).(*layers.IPv4)
	fragment.FragOffset = 100
	tunnelFragment := ip(nodeA, nodeB, isUDP).(*layers.IPv4)
	tunnelFragment.FragOffset = 100

	for _, tc := range []struct {
		name  string
		frame []byte
		want  wire.Class
	}{
		{"initiation", datagram(nodeA, nodeB, message(1, 148)), wire.WireGuard},
		{"response", datagram(nodeB, nodeA, message(2, 92)), wire.WireGuard},
		{"cookie reply", datagram(nodeA, nodeB, message(3, 64)), wire.WireGuard},
		{"keepalive", datagram(nodeA, nodeB, message(4, 32)), wire.WireGuard},
		{"transport, IPv6", datagram(nodeA6, nodeB6, message(4, 1452)), wire.WireGuard},
		{"a GSO frame of transports", datagram(nodeA, nodeB, message(4, 45*1452)), wire.WireGuard},
		{"to the port from another", frame(t, ip(nodeA, nodeB, isUDP), udp(40000, port), message(4, 64)), wire.WireGuard},

		{"initiation of a wrong length", datagram(nodeA, nodeB, message(1, 149)), wire.Other},
		{"type 5", datagram(nodeA, nodeB, message(5, 148)), wire.Other},
		{"reserved bytes set", datagram(nodeA, nodeB, message(0x0104, 64)), wire.Other},
		{"transport too short", datagram(nodeA, nodeB, message(4, 31)), wire.Other},
		{"nearly empty datagram", datagram(nodeA, nodeB, message(0, 4)[:2]), wire.Other},
		{"another port", frame(t, ip(nodeA, nodeB, isUDP), udp(40000, 40001), message(4, 64)), wire.Other},
		{"to the gateway", datagram(nodeA, "192.0.2.254", message(4, 64)), wire.Other},
		{"the tunnel's later fragments", frame(t, tunnelFragment, message(4, 64)), wire.Other},
		{"from a pod, of WireGuard's shape", datagram(podA, podB, message(4, 64)), wire.PlaintextPod},

		{"pod to pod", inner, wire.PlaintextPod},
		{"pod to pod, IPv6", frame(t, ip(podA6, podB6, isTCP), tcp), wire.PlaintextPod},
		{"pod to pod, VLAN", frame(t, &layers.Dot1Q{VLANIdentifier: 5, Type: layers.EthernetTypeIPv4}, ip(podA, podB, isTCP), tcp), wire.PlaintextPod},
		{"pod to pod, later fragment", frame(t, fragment, message(0, 64)), wire.PlaintextPod},
		{"pod to another node", frame(t, ip(podA, nodeB, isTCP), tcp), wire.PlaintextPodNode},
		{"another node to a pod, IPv6", frame(t, ip(nodeA6, podB6, isTCP), tcp), wire.PlaintextPodNode},

		{"pods of one node", frame(t, ip(podA, podA2, isTCP), tcp), wire.Other},
		{"a pod and its own node", frame(t, ip(podA, nodeA, isTCP), tcp), wire.Other},
		{"a pod and the world", frame(t, ip(podA, "198.51.100.1", isTCP), tcp), wire.Other},
		{"a pod of an unknown node", frame(t, ip(podA, podUnknown, isTCP), tcp), wire.PlaintextPod},
		{"between pods of unknown nodes", frame(t, ip("10.244.78.2", podUnknown, isTCP), tcp), wire.PlaintextPod},
		{"a pod to an unknown node", frame(t, ip(podA, "192.0.2.9", isTCP), tcp), wire.PlaintextPodNode},
		{"an unknown node to a pod", frame(t, ip("192.0.2.9", podA, isTCP), tcp), wire.PlaintextPodNode},
		{"an unknown node to a node", frame(t, ip("192.0.2.9", nodeA, isTCP), tcp), wire.Other},
		{"a pod of an unknown node to a node", frame(t, ip(podUnknown, nodeA, isTCP), tcp), wire.PlaintextPodNode},
		{"a pod that is none", frame(t, ip(podA6, "fd00:10:244:77::2", isTCP), tcp), wire.Other},
		{"between nodes", frame(t, ip(nodeA, nodeB, isTCP), tcp), wire.Other},
		{"ARP", frame(t, &layers.ARP{HwAddressSize: 6, ProtAddressSize: 4, SourceHwAddress: ether.SrcMAC, DstHwAddress: ether.DstMAC,
			SourceProtAddress: []byte{192, 0, 2, 1}, DstProtAddress: []byte{192, 0, 2, 2}}), wire.Other},

		{"VXLAN", frame(t, stack{ip(nodeA, nodeB, isUDP), udp(40000, 4789), &layers.VXLAN{ValidIDFlag: true, VNI: 1}, gopacket.Payload(inner)}...), wire.PlaintextPod},
		{"VXLAN on Linux's port", frame(t, stack{ip(nodeA, nodeB, isUDP), udp(40000, 8472), &layers.VXLAN{ValidIDFlag: true, VNI: 1}, gopacket.Payload(inner)}...), wire.PlaintextPod},
		{"VXLAN on Linux's port, something else", frame(t, ip(nodeA, nodeB, isUDP), udp(40000, 8472), gopacket.Payload("hello, hello")), wire.Other},
		{"IPIP", frame(t, ip(nodeA, nodeB, isIP4), ip(podA, podB, isTCP), tcp), wire.PlaintextPod},
		{"IPv6 in IPv4", frame(t, ip(nodeA, nodeB, isIP6), ip(podA6, podB6, isTCP), tcp), wire.PlaintextPod},
		{"IPIP to a node", frame(t, ip(nodeA, nodeB, isIP4), ip(nodeA, podB, isTCP), tcp), wire.PlaintextPodNode},
		{"GRE", frame(t, ip(nodeA, nodeB, isGRE), &layers.GRE{Protocol: layers.EthernetTypeIPv4}, ip(podA, podB, isTCP), tcp), wire.PlaintextPod},
		{"Geneve", frame(t, ip(nodeA, nodeB, isUDP), udp(40000, 6081), geneve(inner)), wire.PlaintextPod},
		{"VXLAN on another port", frame(t, stack{ip(nodeA, nodeB, isUDP), udp(40000, 4790), &layers.VXLAN{ValidIDFlag: true, VNI: 1}, gopacket.Payload(inner)}...), wire.PlaintextPod},
		{"Geneve on another port", frame(t, ip(nodeA, nodeB, isUDP), udp(40000, 6082), geneve(inner)), wire.PlaintextPod},
		{"Geneve on a port that is none of its", frame(t, ip(nodeA, nodeB, isUDP), udp(40000, 6083), geneve(inner)), wire.Other},
		{"GRE of the nodes' own", frame(t, ip(nodeA, nodeB, isGRE), &layers.GRE{Protocol: layers.EthernetTypeIPv4}, ip(nodeA, nodeB, isTCP), tcp), wire.Other},

		{"IPv4 that is none", append(frame(t, ip(podA, podB, isTCP), tcp)[:14], 0x45, 0, 0), wire.Malformed},
		{"IPv6 that is none", append(frame(t, ip(podA6, podB6, isTCP), tcp)[:14], 0x60, 0, 0), wire.Malformed},
		{"IPIP of rubbish", frame(t, ip(nodeA, nodeB, isIP4), gopacket.Payload("rubbish")), wire.Malformed},
		{"an empty frame", nil, wire.Other},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := wire.NewClassifier(cluster)
			if got := c.Classify(seen(tc.frame)); got.Class != tc.want {
				t.Errorf("%d bytes are %v, want %v", len(tc.frame), got.Class, tc.want)
			}
			// A capture sees no more than the head of a frame.
			if got := c.Classify(seen(tc.frame[:min(len(tc.frame), 512)])); got.Class != tc.want {
				t.Errorf("the first 512 bytes are %v, want %v", got.Class, tc.want)
			}
			if len(tc.frame) < 14 {
				return
			}
			bare := wire.Frame{Protocol: binary.BigEndian.Uint16(tc.frame[12:]), Head: tc.frame[14:], Length: len(tc.frame) - 14}
			if got := c.Classify(bare); bare.Protocol != 0x8100 && got.Class != tc.want {
				t.Errorf("without the Ethernet header it is %v, want %v", got.Class, tc.want)
			}
		})
	}
}

// geneve is a header without options (RFC 8926) around an Ethernet frame.
func geneve(inner []byte) gopacket.Payload {
	return append(gopacket.Payload{0, 0, 0x65, 0x58, 0, 0, 1, 0}, inner...)
}

// No frame, however odd, upsets the classifier, and none that carries no
// address of a pod is taken for plaintext.
func FuzzClassify(f *testing.F) {
	f.Add(frame(f, ip(podA, podB, layers.IPProtocolTCP), &layers.TCP{DataOffset: 5}))
	f.Add(frame(f, ip(nodeA, nodeB, layers.IPProtocolUDP), udp(port, port), message(4, 64)))
	f.Add(frame(f, ip(nodeA6, nodeB6, layers.IPProtocolUDP), udp(port, 8472), &layers.VXLAN{ValidIDFlag: true}, gopacket.Payload("x")))
	c := wire.NewClassifier(cluster)
	f.Fuzz(func(t *testing.T, data []byte) {
		class := c.Classify(seen(data)).Class
		if (class == wire.PlaintextPod || class == wire.PlaintextPodNode) && !holdsPodAddress(data) {
			t.Errorf("%x is %v, but holds no pod's address", data, class)
		}
	})
}

func holdsPodAddress(data []byte) bool {
	for i := range data {
		if len(data)-i >= 4 && data[i] == 10 && data[i+1] == 244 {
			return true
		}
		if len(data)-i >= 16 && data[i] == 0xfd && data[i+1] == 0 && data[i+2] == 0 && data[i+3] == 0x10 {
			return true
		}
	}
	return false
}
