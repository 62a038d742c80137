package udpbind

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
)

const (
	// inboxSlots is how many datagrams or trains one recvmmsg may bring. With
	// full trains that is 512 KiB, which is about what a core's cache holds.
	inboxSlots = 8
	// slotSize holds the longest datagram and the longest train.
	slotSize = 1 << 16
	// controlWords has room for packet info (40 bytes) and UDP_GRO (24) in
	// words of 8 bytes; MSG_CTRUNC would show that it has not.
	controlWords = 16
)

// slot is where the kernel puts one datagram, or one train of a sender's.
type slot struct {
	control [controlWords]uint64
	vector  unix.Iovec
	name    unix.RawSockaddrInet6
}

// inbox holds what was received and not yet delivered. It belongs to the
// reader of a socket and survives it: the next one delivers the rest.
type inbox struct {
	headers [inboxSlots]unix.Mmsghdr
	slots   [inboxSlots]slot
	buffer  []byte // made with it: slotSize for each slot; pages never written cost no memory

	errno  unix.Errno // of the last receive
	filled int        // slots that the last receive filled
	next   int        // the slot to deliver from
	offset int        // bytes of it already delivered
	// Of the slot to deliver from, valid when offset > 0.
	info packetInfo
	from *Endpoint

	endpoints endpointCache
}

// receive fills the empty inbox with what the kernel has, without waiting, and
// sets and returns errno.
//
// The raw system call keeps the processor: the descriptor is non-blocking, so
// it ends soon, and giving the processor up and asking for it back costs more
// than the call.
func (in *inbox) receive(fd int) unix.Errno {
	for i := range in.headers {
		s := &in.slots[i]
		s.vector.Base = &in.buffer[i*slotSize]
		s.vector.SetLen(slotSize)
		h := &in.headers[i].Hdr
		*h = unix.Msghdr{
			Name:    (*byte)(unsafe.Pointer(&s.name)),
			Namelen: uint32(unsafe.Sizeof(s.name)),
			Iov:     &s.vector,
			Control: (*byte)(unsafe.Pointer(&s.control)),
		}
		h.SetIovlen(1)
		h.SetControllen(int(unsafe.Sizeof(s.control)))
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&in.headers[0])), inboxSlots, unix.MSG_DONTWAIT, 0, 0)
	in.next, in.offset, in.filled, in.errno = 0, 0, 0, errno
	if errno == 0 {
		in.filled = int(n)
	}
	return errno
}

// take cuts the next datagram off what was received. It is valid until the
// next receive. With a drop reason there is no datagram, but count of them
// were lost. ok is false when the inbox is empty.
func (in *inbox) take() (datagram []byte, from *Endpoint, lost tunnel.DropReason, count int, ok bool) {
	if in.next == in.filled {
		return nil, nil, "", 0, false
	}
	i := in.next
	m, s := &in.headers[i], &in.slots[i]
	if in.offset == 0 {
		control := unsafe.Slice((*byte)(unsafe.Pointer(&s.control)), len(s.control)*8)
		in.info = parseControl(control[:m.Hdr.Controllen])
		if m.Hdr.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			in.next++
			return nil, nil, DropTruncated, segments(int(m.Len), in.info.segment), true
		}
		in.from = in.endpoints.of(&s.name, in.info)
	}
	start, end := in.offset, int(m.Len)
	if in.info.segment > 0 {
		end = min(start+in.info.segment, end)
	}
	in.offset = end
	if end == int(m.Len) {
		in.next, in.offset = in.next+1, 0
	}
	base := i * slotSize
	return in.buffer[base+start : base+end], in.from, "", 1, true
}

// discard empties the inbox and says how many datagrams were in it.
func (in *inbox) discard() (lost int) {
	for {
		_, _, _, count, ok := in.take()
		if !ok {
			return lost
		}
		lost += count
	}
}

// segments is how many datagrams a train of so many bytes has; one that was
// not coalesced, even empty, is one.
func segments(bytes, segment int) int {
	if segment <= 0 || bytes <= segment {
		return 1
	}
	return (bytes + segment - 1) / segment
}
