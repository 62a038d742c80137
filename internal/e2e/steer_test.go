package e2e_test

import (
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestGSOPacketsStayWhole: TCP between pods crosses steering in super-packets.
func TestGSOPacketsStayWhole(t *testing.T) {
	const bytes = 64 << 20
	c := upWith(t, plain, netlab.Options{})
	// On a busy machine TCP is slow, and makes smaller packets of what is slow
	// (tcp_tso_autosize): of three streams one has to have long ones.
	whole := func(family int) bool {
		before, peer := c.status("node-a").Tunnel.TUNReads, c.status("node-b")
		w := c.encrypted(func() { stream(t, c, family, bytes) })
		after := c.status("node-a").Tunnel.TUNReads
		// The programs there count the segments of what the TUN was given whole.
		written, counted := received(c.status("node-b"))
		writtenBefore, countedBefore := received(peer)
		if w, c := written-writtenBefore, counted-countedBefore; c < w-w/100 || c > w+w/100 {
			t.Errorf("IPv%d: %d packets were written to the TUN, and %d counted behind it", family, w, c)
		}
		packets, read := after.Packets-before.Packets, after.Bytes-before.Bytes
		if read < bytes {
			t.Fatalf("IPv%d: the TUN gave %d bytes of %d", family, read, bytes)
		}
		t.Logf("IPv%d: %d reads, %d bytes on average; %d WireGuard frames", family, packets, read/packets, w.WireGuard.Frames)
		return read/packets > 20_000
	}
	for _, family := range c.Families {
		ok := false
		for attempt := 0; attempt < 3 && !ok; attempt++ {
			ok = whole(family)
		}
		if !ok {
			t.Errorf("IPv%d: a read brings 20,000 bytes at most on average; GSO packets do not arrive whole", family)
		}
	}
}

// received is what was decrypted: packets written to the TUN, and those that the
// ingress program counted.
func received(s dataplane.Status) (written, counted uint64) {
	for _, v := range s.Steering.Verdicts {
		if v.Hook == "tunnel_ingress" {
			counted += v.Packets
		}
	}
	return s.Tunnel.ToTUN.Packets, counted
}

// stream sends bytes by TCP from the first pod of node-a to that of node-b.
func stream(t *testing.T, c *cluster, family int, bytes int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	to, err := c.Find("node-b/pod-1")
	if err != nil {
		t.Fatal(err)
	}
	ip, err := to.IP(family)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(ip, 9000)
	l, err := to.Listen(ctx, "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan int64, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			got <- -1
			return
		}
		defer conn.Close()
		n, _ := io.Copy(io.Discard, conn)
		got <- n
	}()
	conn, err := c.node("node-a").Pods[0].Dial(ctx, "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(conn, zeroes{}, bytes); err != nil {
		t.Error(err)
	}
	conn.Close()
	if n := <-got; n != bytes {
		t.Errorf("%d of %d bytes arrived", n, bytes)
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestPodsAndNodes: the class table's pairs with a node on one side.
func TestPodsAndNodes(t *testing.T) {
	c := up(t, netlab.Options{})
	var flows []netlab.Flow
	for _, family := range c.Families {
		for _, p := range []netlab.Protocol{netlab.TCP, netlab.UDP, netlab.ICMP} {
			flows = append(flows,
				netlab.Flow{From: "node-a/pod-1", To: "node-b", Protocol: p, Family: family},
				netlab.Flow{From: "node-a", To: "node-b/pod-1", Protocol: p, Family: family})
		}
	}
	if w := c.encrypted(func() { c.mustFlow(flows...) }); w.WireGuard.Frames == 0 {
		t.Errorf("no WireGuard on the wire: %+v", w)
	}
}

// TestUnknownPodsAreDropped: a pod that nobody announced, in each family.
func TestUnknownPodsAreDropped(t *testing.T) {
	c := up(t, netlab.Options{})
	for _, to := range []string{"10.244.77.7", "fd00:10:244:77::7"} {
		drops := func(s dataplane.Status) (n uint64) {
			for _, v := range s.Steering.Verdicts {
				if v.Verdict == "drop" && v.Reason == "unknown_peer" {
					n += v.Packets
				}
			}
			return n
		}
		before := drops(c.status("node-a"))
		w := c.encrypted(func() {
			conn, err := c.node("node-a").Pods[0].Dial(t.Context(), "udp", netip.AddrPortFrom(netip.MustParseAddr(to), 9))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c.until("the drop of a datagram to "+to, func() bool {
				_, _ = conn.Write([]byte("anyone?")) // an ICMP error of an earlier one may be its result
				return drops(c.status("node-a")) > before
			})
		})
		if w.PlaintextPod.Frames != 0 {
			t.Errorf("%s: %+v", to, w)
		}
	}
}
