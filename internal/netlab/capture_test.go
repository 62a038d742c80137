package netlab_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// inject sends frames from a node's uplink as they are, n times each.
func inject(t *testing.T, node *netlab.Node, n int, frames ...[]byte) {
	t.Helper()
	err := node.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for range n {
			for _, f := range frames {
				if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCaptureCountsExactly(t *testing.T) {
	lab := up(t, netlab.Options{Nodes: 3, Families: []int{4}})
	tcp := &layers.TCP{SrcPort: 1, DstPort: 2, DataOffset: 5}
	plain := frame(t, ip(podA, podB, layers.IPProtocolTCP), tcp, message(0, 46))
	toNode := frame(t, ip(podA, nodeB, layers.IPProtocolTCP), tcp, message(0, 46))
	crypted := frame(t, ip(nodeA, nodeB, layers.IPProtocolUDP), udp(port, port), message(4, 1000))
	back := frame(t, ip(nodeB, nodeA, layers.IPProtocolUDP), udp(port, port), message(4, 1000))

	inject(t, lab.Nodes[0], 7, plain) // before the capture: not its business
	capture, err := lab.Capture(port)
	if err != nil {
		t.Fatal(err)
	}
	const n = 500
	inject(t, lab.Nodes[0], n, crypted, plain, crypted)
	inject(t, lab.Nodes[1], n, back)
	inject(t, lab.Nodes[2], 3, toNode)
	wire, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	count := func(frames int, one []byte) netlab.Count {
		return netlab.Count{Frames: uint64(frames), Bytes: uint64(frames * len(one))}
	}
	const text = podA + " > " + podB + " TCP"
	want := netlab.Wire{
		WireGuard:        count(3*n, crypted),
		PlaintextPod:     count(n, plain),
		PlaintextPodNode: count(3, toNode),
		Plaintext:        []string{text, text, text, text, text},
	}
	// Neighbour discovery and the like come by themselves.
	if diff := cmp.Diff(want, wire, cmpopts.IgnoreFields(netlab.Wire{}, "Other")); diff != "" {
		t.Errorf("the capture (-want +got):\n%s", diff)
	}
}

// A capture that cannot keep up says so.
func TestCaptureOwnsUpToLoss(t *testing.T) {
	lab := up(t, netlab.Options{Families: []int{4}})
	capture, err := lab.Capture(port)
	if err != nil {
		t.Fatal(err)
	}
	netlab.ShrinkBuffer(t, capture)
	big := frame(t, ip(podA, podB, layers.IPProtocolUDP), udp(1, 2), gopacket.Payload(make([]byte, 1400)))
	const n = 20000
	inject(t, lab.Nodes[0], n, big)
	wire, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if wire.Lost == 0 {
		t.Errorf("nothing lost with next to no buffer: %+v", wire)
	}
	if got := wire.PlaintextPod.Frames + wire.Lost; got < n {
		t.Errorf("%d seen and %d lost of %d: the rest is unaccounted for", wire.PlaintextPod.Frames, wire.Lost, n)
	}
}

func TestCaptureOfALabThatIsDown(t *testing.T) {
	lab := planned(t, netlab.Options{})
	if _, err := lab.Capture(port); err == nil {
		t.Error("captured on a lab that is not up")
	}
}

// What the kernel makes of real sockets is classified like what tests make up:
// here, datagrams of WireGuard's shape through UDP sockets of both families.
func TestCaptureOfSockets(t *testing.T) {
	lab := up(t, netlab.Options{})
	capture, err := lab.Capture(port)
	if err != nil {
		t.Fatal(err)
	}
	a, b := lab.Nodes[0], lab.Nodes[1]
	for i, network := range []string{"udp4", "udp6"} {
		receiver, err := b.ListenPacket(t.Context(), network, netip.AddrPortFrom(b.IPs[i], port))
		if err != nil {
			t.Fatal(err)
		}
		defer receiver.Close()
		conn, err := a.Dial(t.Context(), network, netip.AddrPortFrom(b.IPs[i], port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for n := range 10 {
			if _, err := conn.Write(binary.LittleEndian.AppendUint64(make([]byte, 0, 8), 4)); err != nil { // too short
				t.Fatal(err)
			}
			if _, err := conn.Write(message(4, 32+16*n)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 2048)
			for range 2 { // so that they have crossed the underlay
				if _, _, err := receiver.ReadFrom(buf); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	wire, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if wire.WireGuard.Frames != 20 || wire.Other.Frames < 20 || wire.Lost != 0 || wire.PlaintextPod.Frames != 0 || wire.Malformed.Frames != 0 {
		t.Errorf("want 20 of WireGuard, at least 20 others and nothing else: %+v", wire)
	}
}
