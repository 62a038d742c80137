package tundev_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/tundev"
)

// bench is a TUN in a network namespace of its own, which drops whatever the TUN
// is given to receive, and answers nothing.
type bench struct {
	*tundev.TUN
	queue *tundev.Queue
	host  *privtest.Host
}

func newBench(b *testing.B) *bench {
	b.Helper()
	privtest.Tool(b, "nft")
	h := privtest.NewHost(b, unix.CLONE_NEWNET)
	var link *tundev.TUN
	var err error
	h.Do(func() { link, err = tundev.Open(tundev.Options{Name: name}) })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { link.Close() })
	h.Sh(b, `ip link set %s up
		nft 'table inet sink { chain in { type filter hook prerouting priority raw; policy drop; }; }'`, name)
	queue, err := link.Queue()
	if err != nil {
		b.Fatal(err)
	}
	return &bench{link, queue, h}
}

// kernelPackets is how many packets the kernel has received, GSO packets as one.
func (e *bench) kernelPackets(b *testing.B) (n int) {
	b.Helper()
	out := e.host.Sh(b, "awk '/%s:/ { print $3 }' /proc/net/dev", name)
	if _, err := fmt.Sscan(out, &n); err != nil {
		b.Fatal(err)
	}
	return n
}

// shape is a kind of packet: size bytes of payload in each of so many segments.
type shape struct {
	protocol       layers.IPProtocol
	size, segments int
}

func (s shape) String() string {
	return fmt.Sprintf("protocol=%s/size=%d/segments=%d", strings.ToLower(s.protocol.String()), s.size, s.segments)
}

// packet is an IPv4 packet of a flow, with checksums; its payload starts at byte
// `at` of the flow's.
func packet(b *testing.B, protocol layers.IPProtocol, flow, at, payload int) []byte {
	b.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: protocol,
		SrcIP: net.IP{10, 9, 0, 2}, DstIP: net.IP{10, 9, 0, 1}}
	var transport gopacket.SerializableLayer
	if protocol == layers.IPProtocolTCP {
		tcp := &layers.TCP{SrcPort: layers.TCPPort(1000 + flow), DstPort: 9, Seq: uint32(at), ACK: true, Window: 1000}
		transport = tcp
		_ = tcp.SetNetworkLayerForChecksum(ip)
	} else {
		udp := &layers.UDP{SrcPort: layers.UDPPort(1000 + flow), DstPort: 9}
		transport = udp
		_ = udp.SetNetworkLayerForChecksum(ip)
	}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, ip, transport, gopacket.Payload(make([]byte, payload))); err != nil {
		b.Fatal(err)
	}
	return buffer.Bytes()
}

// sender is a packet socket whose packets the TUN's reader gets.
func (e *bench) sender(b *testing.B) (fd int) {
	b.Helper()
	var err error
	e.host.Do(func() { fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fd) })
	link, err := e.Link()
	if err != nil {
		b.Fatal(err)
	}
	ip := uint16(unix.ETH_P_IP)
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ip<<8 | ip>>8, Ifindex: link.Index}),
	); err != nil {
		b.Fatal(err)
	}
	return fd
}

// frame is a packet of that shape behind its struct virtio_net_hdr, as one GSO
// packet where it has several segments.
func (s shape) frame(b *testing.B) []byte {
	b.Helper()
	const (
		needsChecksum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
		gsoTCPv4      = 1 // VIRTIO_NET_HDR_GSO_TCPV4
		gsoUDP        = 5 // VIRTIO_NET_HDR_GSO_UDP_L4
		ipHeader      = 20
	)
	header := make([]byte, 10)
	kind, headers, checksumAt := byte(gsoUDP), ipHeader+8, 6
	if s.protocol == layers.IPProtocolTCP {
		kind, headers, checksumAt = gsoTCPv4, ipHeader+20, 16
	}
	header[0] = needsChecksum
	if s.segments > 1 {
		header[1] = kind
	}
	binary.NativeEndian.PutUint16(header[2:], uint16(headers))
	binary.NativeEndian.PutUint16(header[4:], uint16(s.size))
	binary.NativeEndian.PutUint16(header[6:], ipHeader)
	binary.NativeEndian.PutUint16(header[8:], uint16(checksumAt))
	return append(header, packet(b, s.protocol, 0, 0, s.size*s.segments)...)
}

// BenchmarkRead is what it takes to read the packets that wait in the TUN's ring, and
// to cut up those with several segments; who filled the ring is not in it.
func BenchmarkRead(b *testing.B) {
	const waiting = 256 // of the ring's DefaultTxQueueLen
	e := newBench(b)
	fd := e.sender(b)
	bufs, sizes := buffers(128)
	for _, s := range []shape{
		{layers.IPProtocolTCP, 1400, 45}, {layers.IPProtocolUDP, 1400, 45}, {layers.IPProtocolUDP, 64, 45},
		{layers.IPProtocolTCP, 1400, 1}, {layers.IPProtocolTCP, 0, 1}, {layers.IPProtocolUDP, 64, 1},
	} {
		b.Run(s.String(), func(b *testing.B) {
			if s.protocol == layers.IPProtocolUDP && s.segments > 1 && !slices.Contains(e.Stats().Offloads, "tun-uso") {
				b.Skip("this kernel has no USO for TUN (Linux 6.2 has)")
			}
			frame := s.frame(b)
			b.ReportAllocs()
			b.SetBytes(int64(waiting * s.segments * s.size))
			for b.Loop() {
				b.StopTimer()
				for range waiting {
					if _, err := unix.Write(fd, frame); err != nil {
						b.Fatalf("fill the ring: %v", err)
					}
				}
				b.StartTimer()
				for range waiting {
					if n, err := e.queue.Read(bufs, sizes, offset); n != s.segments || err != nil {
						b.Fatalf("read %d packets, %v; want %d", n, err, s.segments)
					}
				}
			}
			perPacket(b, waiting*s.segments)
		})
	}
}

// BenchmarkWrite is what it takes to write a batch, as the engine hands it over: to
// coalesce what can be and give it to the kernel, which drops it where its IP begins.
// Several flows take turns. packets/write is how many went to the kernel as one.
func BenchmarkWrite(b *testing.B) {
	const batch = 128
	e := newBench(b)
	room, _ := buffers(batch)
	bufs := make([][]byte, batch)
	for _, s := range []shape{
		{layers.IPProtocolTCP, 1400, batch}, {layers.IPProtocolUDP, 1400, batch},
		{layers.IPProtocolTCP, 0, batch}, {layers.IPProtocolUDP, 64, batch},
	} {
		for _, flows := range []int{1, 16} {
			b.Run(fmt.Sprintf("protocol=%s/size=%d/flows=%d", strings.ToLower(s.protocol.String()), s.size, flows), func(b *testing.B) {
				packets := make([][]byte, batch)
				for i := range packets {
					packets[i] = append(make([]byte, offset), packet(b, s.protocol, i%flows, i/flows*s.size, s.size)...)
				}
				before, written := e.kernelPackets(b), e.Stats().ToTUN.Packets
				b.ReportAllocs()
				b.SetBytes(int64(batch * s.size))
				for b.Loop() {
					b.StopTimer()
					for i, p := range packets { // Write changes them
						bufs[i] = append(room[i][:0], p...)
					}
					b.StartTimer()
					if n, err := e.queue.Write(bufs, offset); n != batch || err != nil {
						b.Fatalf("wrote %d, %v", n, err)
					}
				}
				perPacket(b, batch)
				after := e.Stats()
				b.ReportMetric(float64(after.ToTUN.Packets-written)/float64(e.kernelPackets(b)-before), "packets/write")
				for reason, n := range after.Drops {
					if n > 0 {
						b.Errorf("%d drops: %s", n, reason)
					}
				}
			})
		}
	}
}

// perPacket reports the time of one of the packets of an operation.
func perPacket(b *testing.B, packets int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(packets), "ns/packet")
}
