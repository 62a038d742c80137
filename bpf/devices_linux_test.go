package bpf_test

import (
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

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
	s.attach(t, bpf.SteerProgSteerL2, "v0", ebpf.AttachTCXEgress)
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

// Devices without a link-layer header, with packets that no test run can make:
// cut short, or with headers outside of the linear part.
func TestOnDevices(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s, tunnel := steered(t)
	tun(t, "uplink0")
	s.attach(t, bpf.SteerProgSteerL3, "uplink0", ebpf.AttachTCXEgress)
	s.attach(t, bpf.SteerProgGuardEgressL3, "uplink0", ebpf.AttachTCXEgress)
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
