package bpf_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// vnetHeader is the length of struct virtio_net_hdr, in bytes.
const vnetHeader = 10

// tun makes a TUN device without addresses and returns its end for user space:
// every packet starts with a struct virtio_net_hdr.
func tun(t *testing.T, name string) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		t.Fatalf("make TUN device %s: %v", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { file.Close() })
	up(t, name)
	return file
}

// up keeps a device from sending anything of its own accord.
func up(t *testing.T, device string) {
	t.Helper()
	ip(t, "link set "+device+" addrgenmode none")
	ip(t, "link set "+device+" up")
}

func ip(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command(privtest.Tool(t, "ip"), strings.Fields(command)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

// attach puts a program on a device for the rest of the test.
func (s *steer) attach(t *testing.T, program, device string, where ebpf.AttachType) {
	t.Helper()
	l, err := link.AttachTCX(link.TCXOptions{Interface: index(t, device), Program: s.program(program), Attach: where})
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("this kernel has no tcx (Linux 6.6 has)")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func index(t *testing.T, device string) int {
	t.Helper()
	i, err := net.InterfaceByName(device)
	if err != nil {
		t.Fatal(err)
	}
	return i.Index
}

// wantPackets compares the packets of each outcome; lengths depend on the path.
func (s *steer) wantPackets(t *testing.T, want map[bpf.Outcome]uint64) {
	t.Helper()
	got := map[bpf.Outcome]uint64{}
	for o, c := range s.counts(t).Verdicts {
		got[o] = c.Packets
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets (-want +got)\n%s", diff)
	}
}

// readPacket reads what the tunnel device was given, without its vnet header.
func readPacket(t *testing.T, tun *os.File) []byte {
	t.Helper()
	buffer := make([]byte, 65536)
	if err := tun.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := tun.Read(buffer)
	if err != nil {
		t.Fatalf("read %s: %v", tun.Name(), err)
	}
	return buffer[vnetHeader:n]
}

// steered sets up a tunnel device with both its programs on it.
func steered(t *testing.T) (*steer, *os.File) {
	t.Helper()
	s := load(t)
	tunnel := tun(t, "tunnel0")
	s.attach(t, bpf.SteerProgTunnelEgress, "tunnel0", ebpf.AttachTCXEgress)
	s.attach(t, bpf.SteerProgTunnelIngress, "tunnel0", ebpf.AttachTCXIngress)
	settings := bpf.SteerSettings{Strict: 1, TunnelIfindex: uint32(index(t, "tunnel0"))}
	if err := s.Settings.Put(uint32(0), settings); err != nil {
		t.Fatal(err)
	}
	return s, tunnel
}

// pushTags puts VLAN tags on what leaves by a device, ahead of our programs, as
// VLAN devices do: the last is metadata, those before it are in the packet.
func pushTags(t *testing.T, device string, tags int) link.Link {
	t.Helper()
	code := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	for i := range tags {
		code = append(code,
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, 0x0081), // ETH_P_8021Q in network byte order
			asm.Mov.Imm(asm.R3, int32(7+i)),
			asm.FnSkbVlanPush.Call(),
		)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		License:      "MIT",
		Instructions: append(code, asm.Mov.Imm(asm.R0, next), asm.Return()),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: index(t, device), Program: program, Attach: ebpf.AttachTCXEgress, Anchor: link.Head(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// On an uplink that carries VLANs the tag is metadata; of two, the inner one is
// in the packet's bytes. Neither may reach the tunnel.
func TestTaggedUplink(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s, tunnel := steered(t)
	ip(t, "link add v0 type veth peer name v1")
	up(t, "v0")
	up(t, "v1")
	ip(t, "address add 10.244.1.5/32 dev v0")
	ip(t, "route add 10.244.2.9/32 src 10.244.1.5 dev v0")
	ip(t, "neighbour add 10.244.2.9 lladdr 02:00:00:00:00:09 dev v0")
	s.attach(t, bpf.SteerProgEgressL2, "v0", ebpf.AttachTCXEgress)
	socket, err := net.Dial("udp4", "10.244.2.9:2222")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()

	for tags := range 4 {
		pusher := pushTags(t, "v0", tags)
		if _, err := socket.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		packet := readPacket(t, tunnel)
		addresses := []byte{10, 244, 1, 5, 10, 244, 2, 9}
		if len(packet) != 20+8+5 || packet[0] != 0x45 || !cmp.Equal(packet[12:20], addresses) || string(packet[28:]) != "hello" {
			t.Errorf("%d tags: the tunnel is given % x, want the IPv4 packet alone", tags, packet)
		}
		if err := pusher.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.wantPackets(t, map[bpf.Outcome]uint64{
		{Hook: bpf.HookEgress, Verdict: bpf.VerdictEncrypt, Reason: bpf.ReasonToRemotePod}:       4,
		{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictEncrypt, Reason: bpf.ReasonToRemotePod}: 4,
	})
}

// A tag that reaches the tunnel device all the same would end up inside of the
// packet; it is a drop with a name.
func TestTaggedPacketInTunnel(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s, _ := steered(t)
	defer pushTags(t, "tunnel0", 1).Close()
	inject(t, "tunnel0", unix.ETH_P_IP, frame(t, addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod])[14:])
	s.wantPackets(t, map[bpf.Outcome]uint64{
		{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonMalformed}: 1,
	})
}

// inject sends a packet out of a device by a packet socket, past all routing.
func inject(t *testing.T, device string, protocol uint16, packet []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8, Ifindex: index(t, device)}
	// A packet that the program drops is ENOBUFS to a packet socket.
	if err := unix.Sendto(fd, packet, 0, to); err != nil && !errors.Is(err, unix.ENOBUFS) {
		t.Fatalf("send %d bytes out of %s: %v", len(packet), device, err)
	}
}

// Devices without a link-layer header, with packets that no test run can make:
// cut short, or with headers outside of the linear part.
func TestOnDevices(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s, tunnel := steered(t)
	tun(t, "uplink0")
	s.attach(t, bpf.SteerProgEgressL3, "uplink0", ebpf.AttachTCXEgress)
	out4 := frame(t, addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod])[14:]
	out6 := frame(t, addresses6[bpf.ClassLocalPod], addresses6[bpf.ClassRemotePod])[14:]

	for protocol, packet := range map[uint16][]byte{unix.ETH_P_IP: out4, unix.ETH_P_IPV6: out6} {
		header := len(packet) - 8 - len("a payload of 26 characters")
		inject(t, "uplink0", protocol, packet)
		if got := readPacket(t, tunnel); !cmp.Equal(packet, got) {
			t.Errorf("the tunnel is given % x, want % x", got, packet)
		}
		for _, device := range []string{"uplink0", "tunnel0"} {
			inject(t, device, protocol, packet[:header-1])
			inject(t, device, unix.ETH_P_ARP, packet)
		}
		in := append(make([]byte, vnetHeader), packet[:header-1]...)
		if _, err := tunnel.Write(in); err != nil {
			t.Fatal(err)
		}
	}

	// 8000 bytes, of which the header says that one is to be linear.
	in4 := frame(t, addresses4[bpf.ClassRemotePod], addresses4[bpf.ClassLocalPod])[14:]
	paged := append([]byte{2: 1, vnetHeader - 1: 0}, in4...)
	if _, err := tunnel.Write(append(paged, make([]byte, 8000-len(in4))...)); err != nil {
		t.Fatal(err)
	}

	s.wantPackets(t, map[bpf.Outcome]uint64{
		{Hook: bpf.HookEgress, Verdict: bpf.VerdictEncrypt, Reason: bpf.ReasonToRemotePod}:       2,
		{Hook: bpf.HookEgress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonMalformed}:            2,
		{Hook: bpf.HookEgress, Verdict: bpf.VerdictPass, Reason: bpf.ReasonNotIP}:                2,
		{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictEncrypt, Reason: bpf.ReasonToRemotePod}: 2,
		{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonMalformed}:      2,
		{Hook: bpf.HookTunnelEgress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonNotIP}:          2,
		{Hook: bpf.HookTunnelIngress, Verdict: bpf.VerdictDrop, Reason: bpf.ReasonMalformed}:     2,
		{Hook: bpf.HookTunnelIngress, Verdict: bpf.VerdictPass, Reason: bpf.ReasonToLocal}:       1,
	})
	want := bpf.SteerPeerCount{TxPackets: 2, TxBytes: uint64(len(out4) + len(out6)), RxPackets: 1, RxBytes: 8000}
	if diff := cmp.Diff(want, s.counts(t).Peers[2], ignoreLayout); diff != "" {
		t.Errorf("peer 2 (-want +got)\n%s", diff)
	}
}
