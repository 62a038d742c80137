package bpf_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestTooLongOnDevices: packets to the byte, and GSO packets, which no test run can
// make; the answers come in by the same device. GSO packets have checksums that are
// left to the device.
func TestTooLongOnDevices(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	const mtu = 1420
	s, tunnel := steered(t)
	ip(t, fmt.Sprintf("link set tunnel0 mtu %d", mtu))
	tun(t, "uplink0")
	ip(t, "link set uplink0 mtu 1500")
	s.attach(t, bpf.SteerProgSteerL3, "uplink0", ebpf.AttachTCXEgress)
	answers := packetSocket(t, "tunnel0")
	from4, to4 := addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod]
	from6, to6 := addresses6[bpf.ClassLocalPod], addresses6[bpf.ClassRemotePod]
	whole := func(length int) vnet { return vnet{length: length} }
	for name, tc := range map[string]struct {
		packet vnet
		goes   map[string]bool
	}{
		"as long as the tunnel takes": {whole(mtu), map[string]bool{"DF": true, "": true, "IPv6": true}},
		"a byte longer":               {whole(mtu + 1), map[string]bool{"": true}},
		"segments that fit":           {vnet{length: 20_000, segment: mtu - 60 - 20}, map[string]bool{"DF": true, "": true, "IPv6": true}},
		"segments that do not":        {vnet{length: 20_000, segment: mtu - 20 - 20 + 1}, map[string]bool{"": true}},
	} {
		for _, kind := range []string{"DF", "", "IPv6"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				packet := packet(from4, to4, 6, make([]byte, tc.packet.length-20))[14:]
				if kind == "DF" {
					packet[6] = 0x40
				}
				if kind == "IPv6" {
					packet = long(from6, to6, 6)[14:][:40]
					binary.BigEndian.PutUint16(packet[4:], uint16(tc.packet.length-40))
					packet = append(packet, make([]byte, tc.packet.length-40)...)
				}
				headers := map[bool]int{true: 40, false: 20}[kind == "IPv6"]
				packet[headers+12] = 5 << 4
				before := s.counts(t)
				injectVnet(t, "uplink0", tc.packet.header(headers), packet)
				want := before.clone()
				n := tc.packet.count(headers)
				want.add(bpf.Outcome{Hook: bpf.HookEgress, Verdict: bpf.VerdictEncrypt, Reason: bpf.ReasonToRemotePod}, n, uint64(len(packet)))
				if tc.goes[kind] {
					got := headers + 20
					for range n {
						got += len(readPacket(t, tunnel)) - headers - 20
					}
					if got != len(packet) {
						t.Errorf("the tunnel is given %d bytes of %d", got, len(packet))
					}
					want.add(bpf.Outcome{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictEncrypt, Reason: bpf.ReasonToRemotePod}, n, uint64(len(packet)))
					want.addPeer(2, bpf.SteerPeerCount{TxPackets: n, TxBytes: uint64(len(packet))})
				} else {
					readAnswer(t, answers, packet, mtu)
					want.add(bpf.Outcome{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonTooLong}, n, uint64(len(packet)))
					want.add(bpf.Outcome{Hook: bpf.HookTunnelIngress, Verdict: bpf.VerdictPass, Reason: bpf.ReasonMtuAnswer}, 1, uint64(headers+8+quotedBytes))
				}
				for deadline := time.Now().Add(time.Minute); !cmp.Equal(want, s.counts(t), ignoreLayout) && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
				if diff := cmp.Diff(want, s.counts(t), ignoreLayout); diff != "" {
					t.Errorf("counters (-want +got)\n%s", diff)
				}
			})
		}
	}
}

// vnet is a packet's length, and that of a segment's payload, 0 if it is no GSO packet.
type vnet struct{ length, segment int }

// count is how many packets it stands for; headers is the length of its IP header.
func (v vnet) count(headers int) uint64 {
	if v.segment == 0 {
		return 1
	}
	payload := v.length - headers - 20
	return uint64((payload + v.segment - 1) / v.segment)
}

// header is the struct virtio_net_hdr of a TCP packet.
func (v vnet) header(headers int) []byte {
	b := make([]byte, vnetHeader)
	if v.segment == 0 {
		return b
	}
	b[0] = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	b[1] = map[int]byte{20: 1, 40: 4}[headers]
	binary.NativeEndian.PutUint16(b[2:], uint16(headers+20))
	binary.NativeEndian.PutUint16(b[4:], uint16(v.segment))
	binary.NativeEndian.PutUint16(b[6:], uint16(headers))
	binary.NativeEndian.PutUint16(b[8:], 16)
	return b
}

// packetSocket sends and sees a device's packets, each behind a struct virtio_net_hdr.
func packetSocket(t *testing.T, device string) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		t.Fatal(err)
	}
	all := uint16(unix.ETH_P_ALL)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: index(t, device)}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// readAnswer reads what came in by the device of fd and has to be the answer to
// packet: whole, with no checksum left to anyone.
func readAnswer(t *testing.T, fd int, packet []byte, mtu uint32) {
	t.Helper()
	buffer := make([]byte, 65536)
	for {
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if header := buffer[:vnetHeader]; header[0]&1 != 0 || header[1] != 0 {
			t.Errorf("the answer is no plain packet: its virtio_net_hdr is % x", header)
		}
		checkAnswer(t, packet, buffer[vnetHeader:n], mtu)
		return
	}
}

// injectVnet is inject for a packet that the kernel is to cut.
func injectVnet(t *testing.T, device string, header, packet []byte) {
	t.Helper()
	fd := packetSocket(t, device)
	protocol := map[byte]uint16{4: unix.ETH_P_IP, 6: unix.ETH_P_IPV6}[packet[0]>>4]
	to := &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8, Ifindex: index(t, device)}
	if err := unix.Sendto(fd, append(header, packet...), 0, to); err != nil && !errors.Is(err, unix.ENOBUFS) {
		t.Fatalf("send %d bytes out of %s: %v", len(packet), device, err)
	}
}
