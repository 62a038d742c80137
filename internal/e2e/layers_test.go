package e2e_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// alone is a layer when all others are gone.
type alone struct {
	name   string
	world  func(*scene) // what this layer is there for
	others []func(*scene)
	own    func(*scene)
}

// keeps takes the others away, and sees that nothing leaves in plaintext. The control
// is the layer itself gone too. leaving sends, and counts what left.
func (l alone) keeps(s *scene, leaving func(family int) uint64) {
	s.t.Helper()
	if l.world != nil {
		l.world(s)
	}
	for _, take := range l.others {
		take(s)
	}
	for i, family := range s.Families {
		if kept := leaving(i); kept != 0 {
			s.t.Errorf("IPv%d: %d frames in plaintext with this layer alone", family, kept)
		}
	}
	l.own(s)
	for i := range s.Families {
		s.until("plaintext without this layer", func() bool { return leaving(i) > 0 })
	}
}

// TestEachLayerAlone: what each layer keeps in when all the others, and the daemon,
// are gone.
func TestEachLayerAlone(t *testing.T)             { eachLayerAlone(t, tcx) }
func TestLongEachLayerAloneByClsact(t *testing.T) { privtest.Long(t); eachLayerAlone(t, clsact) }

func eachLayerAlone(t *testing.T, by mechanism) {
	for _, layer := range []alone{
		{"guard", nil, []func(*scene){(*scene).detachSteer, (*scene).deleteBackstop, (*scene).flushRoutes, (*scene).deleteTable}, (*scene).detachGuards},
		{"backstop", nil, []func(*scene){(*scene).detachAll, (*scene).flushRoutes, (*scene).deleteTable}, (*scene).deleteBackstop},
		{"unreachable routes", (*scene).removeRoutes, []func(*scene){(*scene).detachAll, (*scene).deleteBackstop, (*scene).deleteTable}, (*scene).flushRoutes},
		{"nftables", (*scene).newUplink, []func(*scene){(*scene).detachAll, (*scene).deleteBackstop, (*scene).flushRoutes}, (*scene).deleteTable},
	} {
		if by == clsact && layer.name == "backstop" {
			continue // there is none
		}
		t.Run(layer.name, func(t *testing.T) {
			s := newScene(t, light, by)
			s.startAll()
			s.killA()
			s.kill("node-b") // it would let nothing in
			if out, err := s.wgsteer("node-b", "teardown"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			layer.keeps(s, func(i int) uint64 {
				return s.watch(func() { s.knock(s.node("node-b").Pods[0].IPs[i], 50) }).PlaintextPod.Frames
			})
		})
	}
}

// knock sends datagrams from node-a's pod. Errors are what became of earlier ones.
func (s *scene) knock(ip netip.Addr, datagrams int) {
	s.t.Helper()
	conn, err := s.a().Pods[0].Dial(s.t.Context(), "udp", netip.AddrPortFrom(ip, 9))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	for range datagrams {
		_, _ = conn.Write([]byte("anyone?"))
	}
}

func (s *scene) detachSteer() { s.detach("eth0", "egress-steer") }

func (s *scene) detachGuards() {
	s.detach("eth0", "egress-guard")
	s.detach("eth0", "ingress-guard")
}

// deleteBackstop is for tcx: by clsact there is none, and the qdisc has the guard.
func (s *scene) deleteBackstop() {
	if s.by == tcx {
		s.deleteClsact()
	}
}

func (s *scene) deleteTable() { s.sh("nft delete table " + s.table()) }

// table is wgsteer's nftables table: "inet wgsteer-...".
func (s *scene) table() string {
	s.t.Helper()
	out, err := s.a().Command(s.t.Context(), "nft", "list", "tables").CombinedOutput()
	if err != nil {
		s.t.Fatalf("list the nftables tables: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) { // "table inet wgsteer-..."
		if name, ours := strings.CutPrefix(strings.TrimSpace(line), "table inet wgsteer-"); ours {
			return "inet wgsteer-" + name
		}
	}
	s.t.Fatalf("there is no table of wgsteer's:\n%s", out)
	return ""
}

// TestBackstopAtIngress: node-b sends in plaintext, and all that node-a has left at
// its ingress is the backstop. The control is that gone too.
func TestBackstopAtIngress(t *testing.T) {
	s := newScene(t, light, tcx)
	s.startAll()
	s.killA()
	s.kill("node-b")
	if out, err := s.wgsteer("node-b", "teardown"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.detach("eth0", "ingress-guard")
	s.deleteTable()
	for i, family := range s.Families {
		t.Run(fmt.Sprintf("IPv%d", family), func(t *testing.T) {
			node, pod := new(atomic.Uint64), new(atomic.Uint64)
			s.hearAt(netlab.Endpoint{Namespace: s.a().Namespace}, s.a().IPs[i], node)
			s.hearAt(netlab.Endpoint{Namespace: s.a().Pods[0].Namespace}, s.a().Pods[0].IPs[i], pod)
			// Between nodes it passes, by the same way and later: then the others are past.
			s.until("a datagram from node to node", func() bool {
				s.shout("node-b/pod-1", s.a().Pods[0].IPs[i])
				s.shout("node-b", s.a().IPs[i])
				return node.Load() > 0
			})
			if pod.Load() > 0 {
				t.Error("plaintext came in past the backstop")
			}
			if i < len(s.Families)-1 {
				return
			}
			s.deleteBackstop()
			s.until("plaintext without the backstop", func() bool {
				s.shout("node-b/pod-1", s.a().Pods[0].IPs[i])
				return pod.Load() > 0
			})
		})
	}
}

// hearAt counts what comes to an address until the test ends.
func (s *scene) hearAt(at netlab.Endpoint, ip netip.Addr, last *atomic.Uint64) {
	s.t.Helper()
	socket, err := at.ListenPacket(s.t.Context(), "udp", netip.AddrPortFrom(ip, 9002))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { socket.Close() })
	go hear(socket, last)
}

// shout sends a numbered datagram, as hear hears it.
func (s *scene) shout(from string, to netip.Addr) {
	s.t.Helper()
	conn, err := s.find(from).Dial(s.t.Context(), "udp", netip.AddrPortFrom(to, 9002))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, 1)); err != nil {
		s.t.Fatal(err)
	}
}
