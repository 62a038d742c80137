package udpbind

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// sendPatience bounds how long one batch waits for room in the send buffer.
	// Waiting keeps bursts whole; a bound keeps a stuck link from holding the
	// device, whose lock the engine holds while it sends.
	sendPatience = 500 * time.Millisecond
	// sendPoll is how long it waits at a time, before it looks whether the Bind
	// is being closed.
	sendPoll = 20 * time.Millisecond
)

// sendControl are the control messages of one message: the segment length of a
// train, then packet info. Either may be left out by where the kernel starts
// and ends reading.
type sendControl struct {
	segment struct {
		header unix.Cmsghdr
		size   uint16
	}
	source [40]byte // CMSG_SPACE of the longer one, struct in6_pktinfo
}

// outbox is the arguments of sendmmsg for a batch.
type outbox struct {
	headers  [BatchSize]unix.Mmsghdr
	vectors  [BatchSize]unix.Iovec
	controls [BatchSize]sendControl
	counts   [BatchSize]int // datagrams in each message
}

// fill makes messages of the datagrams, at most BatchSize, and says how many.
// With trains, datagrams that the kernel can cut itself share a message.
func (o *outbox) fill(datagrams [][]byte, e *Endpoint, src *source, trains bool) (messages int) {
	for vectors := 0; len(datagrams) > 0; messages++ {
		count := 1
		if trains {
			count, _ = train(datagrams)
		}
		h := &o.headers[messages].Hdr
		*h = unix.Msghdr{
			Name:    (*byte)(unsafe.Pointer(&e.name)),
			Namelen: e.nameLen,
			Iov:     &o.vectors[vectors],
		}
		h.SetIovlen(count)
		for _, d := range datagrams[:count] {
			o.vectors[vectors].Base = unsafe.SliceData(d)
			o.vectors[vectors].SetLen(len(d))
			vectors++
		}
		o.controls[messages].set(h, src, count, len(datagrams[0]))
		o.counts[messages] = count
		datagrams = datagrams[count:]
	}
	return messages
}

func (c *sendControl) set(h *unix.Msghdr, src *source, count, segment int) {
	size := 0
	if src != nil {
		h.Control = &c.source[0]
		size = copy(c.source[:], src.control)
	}
	if count > 1 {
		const space = int(unsafe.Sizeof(c.segment))
		c.segment.header = unix.Cmsghdr{Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}
		c.segment.header.SetLen(unix.CmsgLen(2))
		c.segment.size = uint16(segment)
		h.Control = (*byte)(unsafe.Pointer(&c.segment))
		size += space
	}
	h.SetControllen(size)
}

// transmit gives the datagrams to the kernel. It returns how many were taken,
// and when that is not all of them the error about the next message and how
// many datagrams that has. The raw system call is for the reason told at
// inbox.receive.
func (o *outbox) transmit(fd int, datagrams [][]byte, e *Endpoint, src *source, trains bool) (taken, refused int, err unix.Errno) {
	messages := o.fill(datagrams, e, src, trains)
	defer clear(o.vectors[:len(datagrams)]) // the caller's buffers are not ours to keep
	for first := 0; first < messages; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&o.headers[first])), uintptr(messages-first), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return taken, o.counts[first], errno
		}
		for range int(n) {
			taken += o.counts[first]
			first++
		}
	}
	return taken, 0, 0
}

// sending is one batch on its way to one endpoint; it is used again.
type sending struct {
	bind   *Bind
	socket *socket
	to     *Endpoint
	outbox outbox
	waits  int // for room in the send buffer, of sendPoll each
}

// send gives the datagrams, at most BatchSize, to the kernel, or drops and
// counts them. It returns how many were given.
func (s *sending) send(datagrams [][]byte, trains bool) (sent int) {
	for len(datagrams) > 0 {
		src := s.to.source.Load()
		trains = trains && s.socket.gso.Load() && !s.to.plain.Load()
		taken, refused, err := s.outbox.transmit(s.socket.fd, datagrams, s.to, src, trains)
		if taken > 0 {
			s.bind.sent.add(tallyOf(datagrams[:taken]))
			sent += taken
			datagrams = datagrams[taken:]
		}
		if err != 0 {
			handled, alsoSent := s.mend(datagrams[:refused], src, err)
			sent += alsoSent
			datagrams = datagrams[handled:]
		}
	}
	return sent
}

// mend does what remedyFor says about the message that was refused, and
// returns how many of its datagrams are done with; zero is to try again.
func (s *sending) mend(message [][]byte, src *source, err unix.Errno) (handled, sent int) {
	switch remedyFor(err, attempt{sourced: src != nil, train: len(message) > 1}) {
	case repeat:
		return 0, 0
	case waitForRoom:
		if s.waitForRoom() {
			return 0, 0
		}
	case forgetSource:
		s.to.source.CompareAndSwap(src, nil)
		return 0, 0
	case sendPlain:
		sent = s.send(message, false)
		switch { // the train was at fault if what was in it went
		case sent > 0 && err == unix.EIO:
			s.socket.gso.Store(false)
		case sent > 0:
			s.to.plain.Store(true)
		}
		return len(message), sent
	}
	s.bind.drops.add(sendReason(err), len(message))
	return len(message), 0
}

// waitForRoom waits until the socket takes more, and reports whether it is
// worth trying.
func (s *sending) waitForRoom() bool {
	if s.waits >= int(sendPatience/sendPoll) || s.bind.closing.Load() {
		return false
	}
	s.waits++
	// What it returns does not matter: the next attempt finds out.
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.socket.fd), Events: unix.POLLOUT}}, int(sendPoll.Milliseconds()))
	return true
}
