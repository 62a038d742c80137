package bpf_test

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/wgsteer/wgsteer/bpf"
)

// loopbackMTU is that of the device on which BPF_PROG_TEST_RUN runs a program unless
// it is told another: no test's frame is longer.
const loopbackMTU = 65536

// quotedBytes is how much of a packet comes back in an answer.
const quotedBytes = 128

// twinTooLong is the result for a frame that would be encrypted but for its length,
// in which BPF_PROG_TEST_RUN counts the Ethernet header; ok is false where it fits.
func twinTooLong(frame []byte, outer seen, mtu int) (r result, ok bool) {
	b := frame[14:]
	if len(frame) <= mtu || outer.ipv6 && mtu < 1280 || !outer.ipv6 && b[6]&0x40 == 0 {
		return r, false
	}
	r.outcome = bpf.Outcome{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonTooLongUnanswered}
	r.action, r.out = shot, frame
	protocol, payload := outer.transport()
	switch {
	case outer.payload == nil, len(b)-len(payload)+8 > quotedBytes: // a later fragment; too many headers
	case slices.Contains([]byte{0, 43, 44, 59, 60}, protocol): // what is behind is not known
	case outer.ipv6 && (b[8] == 0xff || bytes.Equal(b[8:23], make([]byte, 15)) && b[23] < 2): // multicast, :: and ::1
	case !outer.ipv6 && (b[12] == 0 || b[12] == 127 || b[12] >= 224):
	case protocol == 58 && outer.ipv6 && (payload[0] < 128 || payload[0] == 137):
	case protocol == 1 && !outer.ipv6 && slices.Contains([]byte{3, 4, 5, 11, 12}, payload[0]):
	default:
		r.outcome.Reason, r.action = bpf.ReasonTooLong, redirect
		r.out = append(bytes.Clone(frame[:14]), twinAnswer(b, outer.ipv6, mtu)...)
	}
	return r, true
}

// twinAnswer is the ICMP error that answers packet b, by RFC 1191 or RFC 4443, 3.2.
func twinAnswer(b []byte, ipv6 bool, mtu int) []byte {
	message := append(make([]byte, 8), b[:quotedBytes]...)
	binary.BigEndian.PutUint32(message[4:], uint32(mtu))
	if !ipv6 {
		message[0], message[1] = 3, 4
		binary.BigEndian.PutUint16(message[2:], ^sum(message))
		header := []byte{0x45, 0, 0, byte(20 + len(message)), 0, 0, 0x40, 0, 64, 1, 0, 0}
		header = append(append(header, b[16:20]...), b[12:16]...)
		binary.BigEndian.PutUint16(header[10:], ^sum(header))
		return append(header, message...)
	}
	message[0] = 2
	addresses := append(bytes.Clone(b[24:40]), b[8:24]...)
	pseudo := append(bytes.Clone(addresses), 0, 0, 0, byte(len(message)), 0, 0, 0, 58)
	binary.BigEndian.PutUint16(message[2:], ^sum(append(pseudo, message...)))
	header := append([]byte{0x60, 0, 0, 0, 0, byte(len(message)), 58, 64}, addresses...)
	return append(header, message...)
}

// sum is the one's complement sum of RFC 1071, of an even number of bytes.
func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// twinClamped is frame with the MSS of its SYN lowered to what a device's MTU takes.
func twinClamped(frame []byte, outer seen, mtu int) []byte {
	protocol, payload := outer.transport()
	if protocol != 6 || outer.payload == nil || len(payload) < 24 || payload[13]&2 == 0 {
		return frame
	}
	limit := mtu - 40
	if outer.ipv6 {
		limit = max(mtu, 1280) - 60
	}
	out := bytes.Clone(frame)
	tcp := out[len(out)-len(payload):]
	end := min(len(tcp), int(tcp[12]>>4)*4)
	for i := 20; i+4 <= end; {
		kind, length := tcp[i], int(tcp[i+1])
		switch {
		case kind == 0:
			i = end
			continue
		case kind == 1:
			i++
			continue
		case length < 2 || i+length > int(tcp[12]>>4)*4:
			i = end
			continue
		case kind == 2 && length == 4 && int(binary.BigEndian.Uint16(tcp[i+2:])) > limit:
			binary.BigEndian.PutUint16(tcp[i+2:], uint16(limit))
		}
		i += length
	}
	adjustChecksum(tcp[16:18], payload, tcp)
	return out
}

// adjustChecksum makes a checksum of what was before one of what is after, word by
// word (RFC 1624, equation 3); an odd byte at the end has a zero behind it.
func adjustChecksum(checksum, before, after []byte) {
	s := uint32(^binary.BigEndian.Uint16(checksum))
	changed := false
	before, after = append(bytes.Clone(before), 0), append(bytes.Clone(after), 0)
	for i := 20; i+1 < len(after); i += 2 {
		was, is := binary.BigEndian.Uint16(before[i:]), binary.BigEndian.Uint16(after[i:])
		if was != is {
			s, changed = s+uint32(^was)+uint32(is), true
		}
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	if changed {
		binary.BigEndian.PutUint16(checksum, ^uint16(s))
	}
}
