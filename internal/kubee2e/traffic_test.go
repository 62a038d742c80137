package kubee2e_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wgsteer/wgsteer/internal/labtest"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// knocks are datagrams from pods to all pods and nodes, several a second, whether or not
// anything comes of them: what could be on the wire in plaintext is tried all the while.
type knocks struct {
	c       *cluster
	targets []netip.AddrPort
	senders map[string]context.CancelFunc // by node
	all     sync.WaitGroup
	rounds  atomic.Uint64 // of all senders, one datagram to each target
}

func (c *cluster) knocks() *knocks {
	k := &knocks{c: c, senders: map[string]context.CancelFunc{}}
	for _, n := range c.Nodes {
		for _, ip := range n.IPs {
			k.targets = append(k.targets, netip.AddrPortFrom(ip, 9)) // discard, RFC 863
		}
		for _, p := range n.Pods {
			for _, ip := range p.IPs {
				k.targets = append(k.targets, netip.AddrPortFrom(ip, 9))
			}
		}
	}
	c.t.Cleanup(func() {
		for node := range k.senders {
			k.drain(node)
		}
		k.all.Wait()
	})
	return k
}

// from starts those of a node's pods: pods come to it.
func (k *knocks) from(nodes ...string) {
	k.c.t.Helper()
	for _, node := range nodes {
		ctx, cancel := context.WithCancel(context.Background()) // until drain
		k.senders[node] = cancel
		for _, p := range k.c.node(node).Pods {
			for _, network := range []string{"udp4", "udp6"} {
				// Bound to no address: the pod's may change.
				socket, err := k.socket(p, network)
				if err != nil {
					k.c.t.Fatal(err)
				}
				k.all.Go(func() { k.send(ctx, socket, network == "udp4") })
			}
		}
	}
}

func (k *knocks) socket(p *netlab.Pod, network string) (net.PacketConn, error) {
	anywhere := netip.IPv6Unspecified()
	if network == "udp4" {
		anywhere = netip.IPv4Unspecified()
	}
	return p.ListenPacket(context.Background(), network, netip.AddrPortFrom(anywhere, 0))
}

func (k *knocks) send(ctx context.Context, socket net.PacketConn, four bool) {
	defer socket.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, to := range k.targets {
			if to.Addr().Is4() == four {
				_, _ = socket.WriteTo([]byte("anyone?"), net.UDPAddrFromAddrPort(to)) // nobody needs to get it
			}
		}
		k.rounds.Add(1)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// once waits until all have sent to all.
func (k *knocks) once() {
	k.c.t.Helper()
	pods := 0
	for node := range k.senders {
		pods += len(k.c.node(node).Pods)
	}
	before := k.rounds.Load()
	// Each pod has two senders, of which one may be a round ahead.
	k.c.until("knocks from all pods", func() bool { return k.rounds.Load() >= before+uint64(4*2*pods) })
}

// unencrypted shows that the capture sees what these nodes' pods send without wgsteer.
func (k *knocks) unencrypted(nodes ...string) {
	k.c.t.Helper()
	k.from(nodes...)
	w := k.c.watch(func() { k.once(); k.c.mustFlow(nodes...) })
	if w.PlaintextPod.Frames == 0 || w.PlaintextPodNode.Frames == 0 {
		k.c.t.Fatalf("the capture sees no plaintext without wgsteer: %+v", w)
	}
}

// drain ends those of a node's pods: its pods leave it.
func (k *knocks) drain(node string) {
	k.senders[node]()
	delete(k.senders, node)
}

// watch captures the wire while fn runs.
func (c *cluster) watch(fn func()) netlab.Wire {
	c.t.Helper()
	return labtest.Watch(c.t, c.capture, fn)
}

// encrypted captures the wire while fn runs, and fails if it saw plaintext or no
// WireGuard.
func (c *cluster) encrypted(fn func()) {
	c.t.Helper()
	w := c.watch(fn)
	if w.PlaintextPod.Frames != 0 || w.PlaintextPodNode.Frames != 0 || w.WireGuard.Frames == 0 {
		c.t.Errorf("plaintext on the wire, or no WireGuard: %+v", w)
	}
	c.t.Logf("on the wire: %d of WireGuard, %d in plaintext", w.WireGuard.Frames, w.PlaintextPod.Frames+w.PlaintextPodNode.Frames)
}

// mustFlow runs one flow of each protocol and family between all pods of these nodes,
// all of which have to work.
func (c *cluster) mustFlow(nodes ...string) {
	c.t.Helper()
	flows := slices.DeleteFunc(c.Flows(), func(f netlab.Flow) bool {
		return !slices.Contains(nodes, nodeOf(f.From)) || !slices.Contains(nodes, nodeOf(f.To))
	})
	for _, r := range c.RunFlows(c.t.Context(), flows, netlab.FlowOptions{Timeout: time.Minute, Bytes: 256 << 10}) {
		if !r.OK {
			c.t.Errorf("%s: %s", r.Flow, r.Error)
		}
	}
}

// brief is for flows that may not work.
var brief = netlab.FlowOptions{Timeout: 1500 * time.Millisecond, Resend: 300 * time.Millisecond}

// nodeOf is the node of "node-a/pod-1".
func nodeOf(pod string) string { return pod[:len("node-a")] }

// expect has captures know addresses that a node will have.
func (c *cluster) expect(name string, ips []netip.Addr) {
	if c.later == nil {
		c.later = map[string][]netip.Addr{}
	}
	c.later[name] = ips
}

// capture starts one that knows all nodes' addresses, those of now and of later.
func (c *cluster) capture() (*netlab.Capture, error) {
	for _, n := range c.Nodes {
		now := n.IPs
		n.IPs = slices.Concat(now, c.later[n.Name])
		defer func() { n.IPs = now }()
	}
	return c.Capture(port)
}
