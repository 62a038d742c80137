package bpf_test

import (
	"errors"
	"fmt"
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

// tunnelDevice makes a TUN device of that MTU and returns its index. A test of its own
// network namespace calls it.
func tunnelDevice(t *testing.T, mtu int) int {
	t.Helper()
	tun(t, "tunnel0")
	ip(t, fmt.Sprintf("link set tunnel0 mtu %d", mtu))
	return index(t, "tunnel0")
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
	if err := tun.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
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
