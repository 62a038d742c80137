package netlab_test

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestMTU: each network gives pods what it leaves of the underlay's MTU: a packet
// of that size crosses in one piece, and the kernel takes none that is longer.
func TestMTU(t *testing.T) {
	adds := map[netlab.CNI]int{netlab.VXLAN: 50, netlab.IPIP: 20}
	for _, mtu := range []int{1400, 1500, 9000} {
		for _, cni := range netlab.CNIs() {
			t.Run(fmt.Sprintf("%s %d", cni, mtu), func(t *testing.T) {
				unsupported := ""
				if cni == netlab.IPIP {
					unsupported = "no ipip devices"
				}
				lab := upOr(t, unsupported, netlab.Options{CNI: cni, MTU: mtu})
				from, to := lab.Nodes[0].Pods[0], lab.Nodes[1].Pods[0]
				for i, family := range lab.Families {
					send := wholeSender(t, from.Namespace, to.Namespace, to.IPs[i])
					most := mtu - adds[cni] - map[int]int{4: 20 + 8, 6: 40 + 8}[family] // headers of IP and UDP
					if err := send(most); err != nil {
						t.Errorf("IPv%d, %d bytes: %v", family, most, err)
					}
					if err := send(most + 1); !errors.Is(err, unix.EMSGSIZE) {
						t.Errorf("IPv%d, %d bytes: %v, want %v", family, most+1, err, unix.EMSGSIZE)
					}
				}
			})
		}
	}
}

// wholeSender returns a function that sends a datagram of some bytes, which must
// not be fragmented, and waits until it has arrived.
func wholeSender(t *testing.T, from, to netlab.Namespace, ip netip.Addr) func(bytes int) error {
	t.Helper()
	server, err := to.ListenPacket(t.Context(), "udp", netip.AddrPortFrom(ip, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := from.Dial(t.Context(), "udp", netip.MustParseAddrPort(server.LocalAddr().String()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	raw, err := client.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) {
		if ip.Is4() {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_DONTFRAG, 1)
		}
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return func(bytes int) error {
		if _, err := client.Write(make([]byte, bytes)); err != nil {
			return err
		}
		if err := server.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		n, _, err := server.ReadFrom(make([]byte, 1<<16))
		if err == nil && n != bytes {
			err = fmt.Errorf("%d bytes arrived", n)
		}
		return err
	}
}
