package bpf_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// frame is an Ethernet frame with a UDP datagram from source to destination,
// behind a VLAN tag of each given EtherType.
func frame(t testing.TB, source, destination netip.Addr, tags ...layers.EthernetType) []byte {
	t.Helper()
	udp := &layers.UDP{SrcPort: 1111, DstPort: 2222}
	var ip interface {
		gopacket.NetworkLayer
		gopacket.SerializableLayer
	}
	etherType := layers.EthernetTypeIPv4
	if source.Is4() {
		ip = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: source.AsSlice(), DstIP: destination.AsSlice()}
	} else {
		etherType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: source.AsSlice(), DstIP: destination.AsSlice()}
	}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	types := append(tags, etherType)
	stack := []gopacket.SerializableLayer{&layers.Ethernet{
		SrcMAC:       net.HardwareAddr{2, 0, 0, 0, 0, 1},
		DstMAC:       net.HardwareAddr{2, 0, 0, 0, 0, 2},
		EthernetType: types[0],
	}}
	for i := range tags {
		stack = append(stack, &layers.Dot1Q{VLANIdentifier: uint16(7 + i), Type: types[i+1]})
	}
	stack = append(stack, ip, udp, gopacket.Payload("a payload of 26 characters"))
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, stack...); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

const (
	cTag = layers.EthernetTypeDot1Q
	sTag = layers.EthernetTypeQinQ
)
