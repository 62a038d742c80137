package tundev

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const (
	udpHeader     = 8
	checksumAt    = 6      // of a UDP header
	allOnes       = 0xffff // what stands for a UDP checksum of 0
	moreFragments = 0x3fff // and the offset, of IPv4's fragment field
)

// mendChecksum replaces a UDP checksum of 0 by the other one's complement zero, as
// RFC 768 wants it: 0 says that there is none, and over IPv6 the receiver drops
// such a datagram (RFC 8200, 8.1). The kernel leaves checksums of what it gives a
// TUN to the reader, and NativeTun writes down what comes out (gsoNoneChecksum and
// gsoSplit of golang.zx2c4.com/wireguard/tun of 2026-05-22), so that one datagram
// of 65,536 was lost, and lost again when it was repeated. It can go when those
// two do this.
//
// A checksum that the sender left out stays so; so does one behind IPv6 extension
// headers.
func mendChecksum(packet []byte) {
	at, addresses := udpOf(packet)
	if at == 0 || packet[at+checksumAt]|packet[at+checksumAt+1] != 0 {
		return
	}
	sum := uint64(unix.IPPROTO_UDP) + uint64(len(packet)-at)
	for _, part := range [][]byte{addresses, packet[at:]} {
		for ; len(part) > 1; part = part[2:] {
			sum += uint64(binary.BigEndian.Uint16(part))
		}
		if len(part) > 0 {
			sum += uint64(part[0]) << 8
		}
	}
	for sum > allOnes {
		sum = sum>>16 + sum&allOnes
	}
	if sum == allOnes {
		binary.BigEndian.PutUint16(packet[at+checksumAt:], allOnes)
	}
}

// udpOf finds the UDP header of a whole datagram, and the addresses of the packet;
// 0 where there is none.
func udpOf(packet []byte) (at int, addresses []byte) {
	switch {
	case len(packet) >= 40+udpHeader && packet[0]>>4 == 6 && packet[6] == unix.IPPROTO_UDP:
		at, addresses = 40, packet[8:40]
	case len(packet) >= 20+udpHeader && packet[0]>>4 == 4 && packet[9] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(packet[6:])&moreFragments == 0:
		at, addresses = int(packet[0]&0xf)*4, packet[12:20]
	}
	if at < 20 || len(packet) < at+udpHeader || int(binary.BigEndian.Uint16(packet[at+4:])) != len(packet)-at {
		return 0, nil
	}
	return at, addresses
}
