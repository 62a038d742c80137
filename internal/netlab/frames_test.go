package netlab_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

const port = 51871

// Addresses of a lab of three nodes.
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
