package udpbind

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// Endpoint is a remote address and, once something came from it, the local
// address and interface it was received on: answers leave from there (a
// "sticky" source), as a peer or a firewall on the way expects. It may be used
// concurrently.
type Endpoint struct {
	destination netip.AddrPort
	// name is destination as the kernel wants it; for IPv4 the first 16 bytes
	// are a RawSockaddrInet4. It never changes.
	name    unix.RawSockaddrInet6
	nameLen uint32
	// source is nil while the kernel may choose.
	source atomic.Pointer[source]
	// plain is set when trains do not fit this path while single datagrams do,
	// which is so where the path MTU is smaller than the segments.
	plain atomic.Bool
}

var _ conn.Endpoint = (*Endpoint)(nil)

// source is a local address as packet info; immutable.
type source struct {
	address netip.Addr
	ifindex uint32
	control []byte // a whole control message, IP_PKTINFO or IPV6_PKTINFO
}

// parseEndpoint reads ADDRESS:PORT or [ADDRESS]:PORT. The zone of a link-local
// address is an interface's name or index in this network namespace.
func parseEndpoint(text string) (*Endpoint, error) {
	destination, err := netip.ParseAddrPort(text)
	if err != nil {
		return nil, fmt.Errorf("endpoint %q is not ADDRESS:PORT: %w", text, err)
	}
	var scope uint32
	if zone := destination.Addr().Zone(); zone != "" {
		if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
			scope = uint32(n)
		} else if i, err := net.InterfaceByName(zone); err == nil {
			scope = uint32(i.Index)
		} else {
			return nil, fmt.Errorf("endpoint %q: zone %q is not an interface: %w", text, zone, err)
		}
	}
	destination = netip.AddrPortFrom(destination.Addr().Unmap(), destination.Port())
	return newEndpoint(destination, scope), nil
}

func newEndpoint(destination netip.AddrPort, scope uint32) *Endpoint {
	e := &Endpoint{destination: destination}
	port := destination.Port()
	if destination.Addr().Is4() {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&e.name))
		sa.Family = unix.AF_INET
		sa.Port = networkOrder(port)
		sa.Addr = destination.Addr().As4()
		e.nameLen = unix.SizeofSockaddrInet4
		return e
	}
	e.name.Family = unix.AF_INET6
	e.name.Port = networkOrder(port)
	e.name.Addr = destination.Addr().As16()
	e.name.Scope_id = scope
	e.nameLen = unix.SizeofSockaddrInet6
	return e
}

// endpointFrom is the inverse of newEndpoint.
func endpointFrom(name *unix.RawSockaddrInet6) *Endpoint {
	if name.Family == unix.AF_INET {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return newEndpoint(netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), networkOrder(sa.Port)), 0)
	}
	a := netip.AddrFrom16(name.Addr)
	if name.Scope_id != 0 { // the kernel sets it for link-local addresses alone
		a = a.WithZone(strconv.FormatUint(uint64(name.Scope_id), 10))
	}
	return newEndpoint(netip.AddrPortFrom(a, networkOrder(name.Port)), name.Scope_id)
}

// networkOrder converts between the host's byte order and the network's.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	b[0], b[1] = byte(port>>8), byte(port)
	return *(*uint16)(unsafe.Pointer(&b))
}

// ClearSrc lets the kernel choose the source again, until the peer is heard.
func (e *Endpoint) ClearSrc() { e.source.Store(nil) }

// SrcIP is the local address that datagrams leave from; invalid if the kernel chooses.
func (e *Endpoint) SrcIP() netip.Addr {
	if s := e.source.Load(); s != nil {
		return s.address
	}
	return netip.Addr{}
}

// SrcToString is SrcIP as text, empty if the kernel chooses.
func (e *Endpoint) SrcToString() string {
	if s := e.source.Load(); s != nil {
		return s.address.String()
	}
	return ""
}

// DstIP is the remote address, never an IPv4 one mapped to IPv6.
func (e *Endpoint) DstIP() netip.Addr { return e.destination.Addr() }

// DstToString is ADDRESS:PORT or [ADDRESS]:PORT.
func (e *Endpoint) DstToString() string { return e.destination.String() }

// DstToBytes is what cookies are bound to: it depends on nothing but the
// remote address and port.
func (e *Endpoint) DstToBytes() []byte {
	b, err := e.destination.MarshalBinary()
	if err != nil { // it never is: see the code of net/netip
		panic(err)
	}
	return b
}
