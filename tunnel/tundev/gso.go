package tundev

import "golang.org/x/sys/unix"

// wholeSize returns how long the packet was that one read gave, in bytes, from
// the segments it was cut into: each repeats the headers of the first.
func wholeSize(first []byte, sizes []int) int {
	total := 0
	for _, n := range sizes {
		total += n
	}
	return total - (len(sizes)-1)*headerSize(first)
}

// headerSize returns the length of the IP and transport headers of a segment
// of a GSO packet, which is TCP or UDP without IPv6 extension headers.
func headerSize(packet []byte) int {
	if len(packet) < 20 {
		return 0
	}
	ip, protocol := int(packet[0]&0xf)*4, packet[9]
	if packet[0]>>4 == 6 {
		ip, protocol = 40, packet[6]
	}
	if protocol == unix.IPPROTO_UDP {
		return ip + 8
	}
	if len(packet) < ip+13 {
		return ip
	}
	return ip + int(packet[ip+12]>>4)*4
}
