package udpbind

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetInfo is what the kernel says about a datagram, or a train of them,
// beside its content. The zero value says nothing.
type packetInfo struct {
	local   [16]byte // the address it was sent to; IPv4 in the first 4 bytes
	ifindex uint32   // where it arrived
	v4, v6  bool     // which family local is of; neither if unknown
	segment int      // UDP_GRO: the length of each datagram but the last; zero for one datagram
}

// parseControl reads received control messages; it allocates nothing.
func parseControl(control []byte) (info packetInfo) {
	for len(control) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return info
		}
		switch {
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			p := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
			copy(info.local[:], p.Spec_dst[:])
			info.ifindex, info.v4 = uint32(p.Ifindex), true
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			p := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			info.local = p.Addr
			info.ifindex, info.v6 = p.Ifindex, true
		case header.Level == unix.SOL_UDP && header.Type == unix.UDP_GRO && len(data) >= 4:
			info.segment = int(int32(binary.NativeEndian.Uint32(data))) // udp_cmsg_recv puts an int
		}
		control = rest
	}
	return info
}

// source is the packet info to send back with; nil if it is not known.
func (i packetInfo) source() *source {
	switch {
	case i.v4:
		spec := [4]byte(i.local[:4])
		return &source{
			address: netip.AddrFrom4(spec),
			ifindex: i.ifindex,
			control: unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(i.ifindex), Spec_dst: spec}),
		}
	case i.v6:
		return &source{
			address: netip.AddrFrom16(i.local),
			ifindex: i.ifindex,
			control: unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: i.ifindex, Addr: i.local}),
		}
	}
	return nil
}

// endpointKey is all that makes one sender of datagrams differ from another.
type endpointKey struct {
	name    unix.RawSockaddrInet6
	local   [16]byte
	ifindex uint32
}

// maxEndpoints bounds a cache: whoever forges sources can fill it.
const maxEndpoints = 4096

// endpointCache makes one Endpoint for all datagrams of a sender, so that
// receiving allocates nothing. It belongs to one reader.
type endpointCache struct {
	byKey    map[endpointKey]*Endpoint
	lastKey  endpointKey
	lastSeen *Endpoint
}

// of returns the endpoint of a datagram from name. An endpoint whose source
// was cleared is not used again: what is received says anew where from to
// answer.
func (c *endpointCache) of(name *unix.RawSockaddrInet6, info packetInfo) *Endpoint {
	key := endpointKey{name: *name, local: info.local, ifindex: info.ifindex}
	known := info.v4 || info.v6
	usable := func(e *Endpoint) bool { return e != nil && (!known || e.source.Load() != nil) }
	if c.lastKey == key && usable(c.lastSeen) {
		return c.lastSeen
	}
	e := c.byKey[key]
	if !usable(e) {
		e = endpointFrom(name)
		e.source.Store(info.source())
		if c.byKey == nil || len(c.byKey) >= maxEndpoints {
			c.byKey = make(map[endpointKey]*Endpoint)
		}
		c.byKey[key] = e
	}
	c.lastKey, c.lastSeen = key, e
	return e
}
