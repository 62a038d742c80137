package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// The tests' encapsulation ports.
var (
	vxlanPorts  = [8]uint16{4789, 8472}
	genevePorts = [8]uint16{6081}
)

// seen is what plain Go reads of a packet.
type seen struct {
	parsed              string // "ip", "not ip", "malformed"
	source, destination netip.Addr
	protocol            byte   // of what is behind the IP header
	payload             []byte // that
	ipv6                bool
}

// seeFrame reads an Ethernet frame.
func seeFrame(frame []byte) seen {
	if len(frame) < 14 {
		return seen{parsed: "malformed"}
	}
	etherType, rest := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	for tags := 0; etherType == 0x8100 || etherType == 0x88a8; tags++ {
		if tags == 2 || len(rest) < 4 {
			return seen{parsed: "malformed"}
		}
		etherType, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	return seeIP(etherType, rest)
}

// seeIP reads what its EtherType says is an IP packet.
func seeIP(etherType uint16, b []byte) seen {
	switch {
	case etherType == 0x0800 && len(b) >= 20 && b[0]>>4 == 4 && b[0]&15 >= 5:
		s := seen{parsed: "ip", protocol: b[9], payload: from(b, int(b[0]&15)*4)}
		s.source, s.destination = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			s.payload = nil
		}
		return s
	case etherType == 0x86dd && len(b) >= 40 && b[0]>>4 == 6:
		s := seen{parsed: "ip", protocol: b[6], payload: b[40:], ipv6: true}
		s.source = netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		s.destination = netip.AddrFrom16([16]byte(b[24:40])).Unmap()
		return s
	case etherType == 0x0800 || etherType == 0x86dd:
		return seen{parsed: "malformed"}
	}
	return seen{parsed: "not ip"}
}

// transport is what is behind up to four IPv6 extension headers, and its protocol;
// in a later fragment, and behind more of them, it stays at one.
func (s seen) transport() (protocol byte, b []byte) {
	protocol, b = s.protocol, s.payload
	for i := 0; s.ipv6 && i < 4 && len(b) >= 4; i++ {
		later := protocol == 44 && binary.BigEndian.Uint16(b[2:])&0xfff8 != 0
		if later || !slices.Contains([]byte{0, 43, 44, 60}, protocol) {
			break
		}
		length := 8
		if protocol != 44 {
			length += int(b[1]) * 8
		}
		protocol, b = b[0], from(b, length)
	}
	return protocol, b
}

// inside reads the packet that s carries; "not ip" where it carries none.
func (s seen) inside() seen {
	protocol, b := s.transport()
	switch {
	case protocol == 4 && s.payload != nil:
		return seeIP(0x0800, b)
	case protocol == 41 && s.payload != nil:
		return seeIP(0x86dd, b)
	case protocol == 47:
		return insideGRE(b)
	case protocol == 17:
		return insideUDP(b)
	}
	return seen{parsed: "not ip"}
}

func insideGRE(b []byte) seen {
	if len(b) < 4 || b[0]&0x40 != 0 || b[1]&7 != 0 {
		return seen{parsed: "not ip"}
	}
	length := 4
	for _, flag := range []byte{0x80, 0x20, 0x10} {
		if b[0]&flag != 0 {
			length += 4
		}
	}
	return carried(binary.BigEndian.Uint16(b[2:]), from(b, length))
}

func insideUDP(b []byte) seen {
	if len(b) < 12 {
		return seen{parsed: "not ip"}
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch {
	case port == 0:
	case slices.Contains(vxlanPorts[:], port) && b[8]&8 != 0:
		return seeFrame(from(b, 16))
	case slices.Contains(genevePorts[:], port) && b[8]>>6 == 0:
		return carried(binary.BigEndian.Uint16(b[10:]), from(b, 16+int(b[8])*4))
	}
	return seen{parsed: "not ip"}
}

func carried(etherType uint16, b []byte) seen {
	if etherType == 0x6558 {
		return seeFrame(b)
	}
	return seeIP(etherType, b)
}

// from is b without its first n bytes; empty, not nil, where it is shorter.
func from(b []byte, n int) []byte { return b[min(n, len(b)):] }
