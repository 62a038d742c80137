package tundev

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// datagram is a UDP packet without a checksum; word is the last of its payload.
func datagram(version byte, options int, payload []byte, word uint16) []byte {
	p := header(version, unix.IPPROTO_UDP, 8)
	at := len(p) - 8
	addresses := p[8:at]
	if version == 4 {
		p[0] = 4<<4 | byte(5+options/4)
		addresses = p[12:at]
	}
	for i := range addresses {
		addresses[i] = byte(7 * i)
	}
	p = slices.Insert(p, at, make([]byte, options)...)
	at += options
	p = binary.BigEndian.AppendUint16(append(p, payload...), word)
	binary.BigEndian.PutUint16(p[at+4:], uint16(len(p)-at))
	return p
}

// checksum is RFC 1071's, as it reads: of a pseudo-header and a datagram.
func checksum(packet []byte, at int) uint16 {
	var text []byte
	if packet[0]>>4 == 6 {
		text = append(text, packet[8:40]...)
	} else {
		text = append(text, packet[12:20]...)
	}
	text = append(text, 0, unix.IPPROTO_UDP)
	text = binary.BigEndian.AppendUint16(text, uint16(len(packet)-at))
	text = append(text, packet[at:]...)
	if len(text)%2 == 1 {
		text = append(text, 0)
	}
	sum := 0
	for i := 0; i < len(text); i += 2 {
		if sum += int(text[i])<<8 | int(text[i+1]); sum > 0xffff {
			sum -= 0xffff
		}
	}
	return ^uint16(sum)
}

func TestMendChecksum(t *testing.T) {
	for name, tt := range map[string]struct {
		version byte
		options int
		payload []byte
		mends   bool // where the checksum comes to 0
		change  func(packet []byte, udp int)
	}{
		"IPv4":                         {4, 0, []byte{1, 2}, true, nil},
		"IPv6":                         {6, 0, []byte{1, 2}, true, nil},
		"IPv6, no more":                {6, 0, nil, true, nil},
		"IPv4 with options":            {4, 8, []byte{0xff, 0xff, 3, 4}, true, nil},
		"a fragment":                   {4, 0, []byte{1, 2}, false, func(p []byte, _ int) { p[6] = 0x20 }},
		"a later fragment":             {4, 0, []byte{1, 2}, false, func(p []byte, _ int) { p[7] = 1 }},
		"do not fragment":              {4, 0, []byte{1, 2}, true, func(p []byte, _ int) { p[6] = 0x40 }},
		"another length":               {6, 0, []byte{1, 2}, false, func(p []byte, udp int) { p[udp+5]++ }},
		"TCP":                          {6, 0, []byte{1, 2}, false, func(p []byte, _ int) { p[6] = unix.IPPROTO_TCP }},
		"IPv4 with a header too short": {4, 0, []byte{1, 2}, false, func(p []byte, _ int) { p[0] = 0x44 }},
	} {
		t.Run(name, func(t *testing.T) {
			at := map[byte]int{4: 20, 6: 40}[tt.version] + tt.options
			of := func(word uint16) []byte { return datagram(tt.version, tt.options, tt.payload, word) }
			zero := checksum(of(0), at) // what has to be added for the checksum to come to 0
			for _, word := range []uint16{0, zero, zero - 1, zero + 1} {
				packet := of(word)
				if want := word == zero; (checksum(packet, at) == 0) != want {
					t.Fatalf("the checksum with %#x is %#x", word, checksum(packet, at))
				}
				if tt.change != nil {
					tt.change(packet, at)
				}
				want := slices.Clone(packet)
				if word == zero && tt.mends {
					binary.BigEndian.PutUint16(want[at+6:], 0xffff)
				}
				mendChecksum(packet)
				if diff := cmp.Diff(want, packet); diff != "" {
					t.Errorf("with %#x (-want +got):\n%s", word, diff)
				}
			}
		})
	}
}

// TestMendChecksumOfAnything: it reads no further than the packet.
func TestMendChecksumOfAnything(t *testing.T) {
	for _, version := range []byte{4, 6} {
		whole := datagram(version, 0, nil, 0)
		for n := range whole {
			mendChecksum(whole[:n:n])
		}
	}
	whole := datagram(4, 0, nil, 0)
	whole[0] = 0x4f // a header of 60 bytes
	mendChecksum(whole)
}

func BenchmarkMendChecksum(b *testing.B) {
	packet := datagram(6, 0, make([]byte, 1300), 0)
	packet[46] = 1 // as nearly all have one
	for b.Loop() {
		mendChecksum(packet)
	}
}
