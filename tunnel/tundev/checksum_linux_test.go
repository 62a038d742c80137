package tundev_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestChecksumOfZero: a datagram whose checksum comes to 0 leaves the TUN with the
// one that means that.
func TestChecksumOfZero(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	_, queue := open(t)
	ip(t, "addr", "add", "fd09::1/64", "dev", name, "nodad")
	for to, udp := range map[string]int{"10.9.0.2:9": 20, "[fd09::2]:9": 40} {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		checksumOf := func(word uint16) uint16 {
			send(t, c, string(binary.BigEndian.AppendUint16(nil, word)))
			for {
				for _, p := range read(t, queue, 1) {
					if len(p) == udp+8+2 { // else a router solicitation
						return binary.BigEndian.Uint16([]byte(p[udp+6:]))
					}
				}
			}
		}
		// In one's complement, adding a checksum to what it is of makes 0 of it.
		if got := checksumOf(checksumOf(0)); got != 0xffff {
			t.Errorf("to %s: checksum %#x, want 0xffff", to, got)
		}
	}
}
