package e2e_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestSizes is TestLongSizes for the two kinds of device on which packets are
// steered.
func TestSizes(t *testing.T) {
	testSizes(t, []int{1500}, netlab.Bridge, netlab.VXLAN)
}

// TestLongSizes: over each network and underlay, a long TCP stream arrives whole,
// and so does a datagram of every size up to the underlay's MTU, which is more
// than the pods' MTU may be, and than the tunnel takes in one piece.
func TestLongSizes(t *testing.T) {
	privtest.Long(t)
	testSizes(t, []int{1400, 1500, 9000}, netlab.CNIs()...)
}

func testSizes(t *testing.T, mtus []int, cnis ...netlab.CNI) {
	for _, mtu := range mtus {
		for _, cni := range cnis {
			t.Run(fmt.Sprintf("%s %d", cni, mtu), func(t *testing.T) {
				needs(t, cni)
				c := upWith(t, plain, netlab.Options{CNI: cni, MTU: mtu})
				const stream = 64 << 20 // each way
				w := c.encrypted(func() {
					for _, family := range c.Families {
						long := []netlab.Flow{{From: "node-a/pod-1", To: "node-b/pod-1", Protocol: netlab.TCP, Family: family}}
						start := time.Now()
						for _, r := range c.RunFlows(t.Context(), long, netlab.FlowOptions{Bytes: stream, Timeout: 5 * time.Minute}) {
							if !r.OK {
								t.Error(r.Error)
							}
						}
						t.Logf("%d MiB each way over IPv%d in %s", stream>>20, family, seconds(time.Since(start)))
						most := mtu
						if reassembles(cni, family) {
							most = c.status("node-a").MTU
						}
						for _, way := range [][2]string{{"node-a/pod-1", "node-b/pod-1"}, {"node-b/pod-1", "node-a/pod-1"}} {
							c.everySize(way[0], way[1], family, most)
						}
						if most == mtu {
							c.learnsOnce("node-a/pod-1", "node-b/pod-1", family)
						}
					}
				})
				if w.WireGuard.Bytes < uint64(len(c.Families))*2*stream {
					t.Errorf("less than was sent went through the tunnel: %+v", w)
				}
			})
		}
	}
}

// reassembles tells whether the sender's node makes one packet again of a pod's
// fragments: a bridge on which br_netfilter tracks connections. It forgets how long
// they were, so that what leaves is too long for the tunnel however the pod
// fragments it, and IPv6 lets nobody else do that; docs/networks.md says so.
func reassembles(cni netlab.CNI, family int) bool {
	return cni == netlab.PluginBridgeMasq && family == 6
}

// headers of IP and UDP, by family.
var headers = map[int]int{4: 20 + 8, 6: 40 + 8}

// everySize sends datagrams of all sizes whose packets the underlay could carry,
// in either way of sending: with DF clear, so that any router may fragment them,
// and with DF set where the path takes them in one piece, as far as the sender
// knows. In IPv6 there is the latter alone.
func (c *cluster) everySize(from, to string, family, mtu int) {
	c.t.Helper()
	discoveries := map[string]int{"DF clear": unix.IP_PMTUDISC_DONT, "DF set": unix.IP_PMTUDISC_WANT}
	if family == 6 {
		discoveries = map[string]int{"IPv6": unix.IPV6_PMTUDISC_WANT}
	}
	var sizes []int
	for size := 1; size <= mtu-headers[family]; size++ {
		sizes = append(sizes, size)
	}
	for name, discovery := range discoveries {
		s := c.sender(from, c.digest(to, family), discovery)
		lost, err := s.send(sizes, time.Second)
		if err == nil { // the sender had to learn the path's MTU, or the machine was too busy
			lost, err = s.send(lost, 10*time.Second)
		}
		if err != nil || len(lost) > 0 {
			c.t.Errorf("%s > %s, IPv%d, %s: sent twice and lost %v, %v", from, to, family, name, lost, err)
		}
	}
}

// learnsOnce sends datagrams that are too long for the tunnel and must not be
// fragmented, each from a pod that does not know it: the first is lost, but tells
// the sender the path's MTU, and the second one arrives, in fragments.
func (c *cluster) learnsOnce(from, to string, family int) {
	c.t.Helper()
	tunnel, server := c.status("node-a").MTU, c.digest(to, family)
	pods := pathMTU(c.t, c.stranger(from, server).conn)
	for _, packet := range []int{tunnel + 1, (tunnel + pods) / 2, pods} {
		s := c.stranger(from, server)
		what := fmt.Sprintf("%s > %s, IPv%d, a packet of %d bytes", from, to, family, packet)
		if got := pathMTU(c.t, s.conn); got != pods || got < packet {
			c.t.Fatalf("%s: the sender believes in a path MTU of %d from the start, want %d", what, got, pods)
		}
		size := packet - headers[family]
		if _, err := s.conn.Write(s.datagram(size)); err != nil {
			c.t.Fatal(err)
		}
		c.until(fmt.Sprintf("%s: the sender knows that the tunnel takes %d", what, tunnel), func() bool { return pathMTU(c.t, s.conn) == tunnel })
		if lost, err := s.send([]int{size}, 10*time.Second); err != nil || len(lost) > 0 {
			c.t.Errorf("%s does not arrive the second time: %v", what, err)
		}
	}
}

// stranger is a sender on whose host nothing is known of any path.
func (c *cluster) stranger(from string, to netip.AddrPort) *sender {
	c.t.Helper()
	version := "-4"
	if to.Addr().Is6() {
		version = "-6"
	}
	if out, err := c.find(from).Command(c.t.Context(), "ip", version, "route", "flush", "cache").CombinedOutput(); err != nil {
		c.t.Fatalf("forget path MTUs: %v\n%s", err, out)
	}
	return c.sender(from, to, unix.IP_PMTUDISC_WANT)
}
