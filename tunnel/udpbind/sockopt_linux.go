package udpbind

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setOptions has to come before bind, so that the first datagram has its
// packet info. What only makes things faster may fail.
func (s *socket) setOptions(o Options) error {
	type option struct{ level, name, value int }
	required := []option{{unix.IPPROTO_IP, unix.IP_PKTINFO, 1}}
	if s.network == "udp6" {
		required = []option{{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1}, {unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1}}
	}
	for _, r := range required {
		if err := unix.SetsockoptInt(s.fd, r.level, r.name, r.value); err != nil {
			return fmt.Errorf("set option %d of level %d of a %s socket to %d: %w", r.name, r.level, s.network, r.value, err)
		}
	}
	// Beyond net.core.{r,w}mem_max with CAP_NET_ADMIN, else up to it.
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, o.ReceiveBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer)
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, o.SendBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer)
	}
	if !o.NoGRO {
		s.gro = unix.SetsockoptInt(s.fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil
	}
	if !o.NoGSO {
		_, err := unix.GetsockoptInt(s.fd, unix.SOL_UDP, unix.UDP_SEGMENT)
		s.gso.Store(err == nil)
	}
	return nil
}

func (s *socket) setMark(mark uint32) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
		return fmt.Errorf("set firewall mark %#x on the %s socket: %w", mark, s.network, err)
	}
	return nil
}

// countKernelDrops adds what the kernel dropped at the socket since the last
// call. SO_MEMINFO has the same counter as SO_RXQ_OVFL's control messages
// (sk_drops), but costs received datagrams nothing and is true also when none
// follows the drop.
func (s *socket) countKernelDrops() {
	const skMeminfoDrops, skMeminfoVars = 8, 9 // linux/sock_diag.h
	s.overflow.Lock()
	defer s.overflow.Unlock()
	var info [skMeminfoVars]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return
	}
	s.drops.add(DropReceiveBuffer, int(info[skMeminfoDrops]-s.overflow.last)) // it wraps
	s.overflow.last = info[skMeminfoDrops]
}
