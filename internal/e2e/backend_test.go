package e2e_test

import (
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/kernel"
)

// mixed is a cluster whose nodes take the back ends in turn; it skips where the
// kernel has no WireGuard. internal/vmtest runs it where it has.
func mixed(t *testing.T, options netlab.Options, backends ...string) *cluster {
	t.Helper()
	privtest.Root(t)
	if err := kernel.Probe(); err != nil {
		privtest.NoWireGuard(t, err)
	}
	c := bare(t, checked, options)
	c.take(backends)
	return c
}

// TestMixedBackends: nodes of both kinds talk; each says what runs its own tunnel,
// and knows it of the others.
func TestMixedBackends(t *testing.T) {
	c := mixed(t, netlab.Options{Nodes: 3}, "userspace", "kernel", "auto")
	c.startAll()
	runs := map[string]string{"node-a": "userspace", "node-b": "kernel", "node-c": "kernel"}
	reasons := map[string]string{"node-a": "configured", "node-b": "configured", "node-c": "auto: the kernel has WireGuard"}
	for name, want := range runs {
		s := c.await(name, "the backends of all", func(s dataplane.Status) bool {
			told := 0
			for _, p := range s.Peers {
				if p.Backend == runs[p.Name] {
					told++
				}
			}
			return told == 2
		})
		if string(s.Backend) != want || s.BackendReason != reasons[name] || s.State != dataplane.Ready {
			t.Errorf("%s runs %s, %q, and is %s: %q", name, s.Backend, s.BackendReason, s.State, s.Reasons)
		}
	}
	if w := c.encrypted(func() { c.mustFlow(c.Flows()...) }); w.WireGuard.Frames == 0 {
		t.Errorf("no WireGuard on the wire: %+v", w)
	}
	out, err := c.wgsteer("node-b", "explain", c.node("node-b").Pods[0].IPs[0].String(), c.node("node-a").Pods[0].IPs[0].String())
	if err != nil || !strings.Contains(string(out), "a link of the kernel's WireGuard") {
		t.Errorf("explain: %v\n%s", err, out)
	}
	// A running session is answer enough: the kernel starts no handshake beside it.
	if out, _ = c.wgsteer("node-b", "check"); strings.Count(string(out), "answers at") != 2 {
		t.Errorf("check:\n%s", out)
	}

	// Somebody deletes the link: there is a new one, with new sessions.
	before := c.linkOf("node-b")
	n := c.node("node-b")
	if out, err := n.Command(t.Context(), "ip", "link", "delete", n.Interface).Output(); err != nil {
		t.Fatalf("delete the link: %v\n%s", err, out)
	}
	c.encrypted(func() {
		c.until("another link", func() bool { is := c.linkOf("node-b"); return is != "" && is != before })
		c.awaitSessions("node-b")
		c.mustFlow(c.Flows()...)
	})
}

// TestKernelTunnelOutlivesItsDaemon: killed, stopped, guarded: pods go on to talk,
// encrypted, in the same session; teardown ends that.
func TestKernelTunnelOutlivesItsDaemon(t *testing.T) {
	c := mixed(t, netlab.Options{}, "userspace", "kernel")
	c.startAll()
	s := startNumbered(t, c)
	session := func() time.Time { return c.status("node-a").Peers[0].LastHandshake }
	c.settled("node-a", "node-b")
	before, index := session(), c.linkOf("node-b")
	goesOn := func() {
		t.Helper()
		n := s.heard.Load()
		c.encrypted(func() { c.until("ten more datagrams", func() bool { return s.heard.Load() > n+10 }) })
	}
	goesOn()

	c.kill("node-b")
	goesOn()
	c.mustFlow(c.Flows()...)
	if _, err := c.wgsteer("node-b", "guard"); err != nil {
		t.Error(err)
	}
	goesOn()
	c.start("node-b")
	c.awaitSessions("node-b")
	goesOn()
	c.terminate("node-b")
	goesOn()
	c.start("node-b")
	c.awaitSessions("node-b")
	goesOn()
	if after := session(); !after.Equal(before) {
		t.Errorf("the session of %v became one of %v", before, after)
	}
	if is := c.linkOf("node-b"); is != index {
		t.Errorf("the link was %s, is %s", index, is)
	}

	if sent, lost := s.end(); lost != 0 {
		t.Errorf("%d of %d datagrams were lost", lost, sent)
	}

	c.terminate("node-b")
	out, err := c.wgsteer("node-b", "teardown")
	if err != nil || !strings.Contains(string(out), "the kernel's WireGuard") {
		t.Errorf("teardown: %v\n%s", err, out)
	}
	if is := c.linkOf("node-b"); is != "" {
		t.Errorf("after teardown there is %s", is)
	}
}

// guarded are the states in which the programs are in place.
var guarded = []dataplane.State{dataplane.Tunnelling, dataplane.Steering, dataplane.Ready, dataplane.Degraded}

// TestABackendChanges: a node keeps its key over a change, and its peers' sessions
// come back; meanwhile nothing leaves either node in plaintext.
func TestABackendChanges(t *testing.T) {
	c := mixed(t, netlab.Options{}, "userspace", "userspace")
	c.startAll()
	key := c.status("node-b").PublicKey
	_, heard := oneWay(t, c, "node-a", "node-b", 4)
	oneWay(t, c, "node-b", "node-a", 4) // for the guard of node-b
	for _, backend := range []string{"kernel", "userspace", "kernel"} {
		var start, loaded time.Time
		c.encrypted(func() {
			c.terminate("node-b")
			c.backends["node-b"] = backend
			start = time.Now()
			c.start("node-b")
			c.await("node-b", "the programs", func(s dataplane.Status) bool { return slices.Contains(guarded, s.State) })
			loaded = time.Now()
			c.until("a new session", func() bool {
				peers := c.status("node-a").Peers
				return len(peers) == 1 && peers[0].LastHandshake.After(start)
			})
			before := heard.Load()
			c.until("datagrams from node-a", func() bool { return heard.Load() > before })
		})
		all, took := time.Since(start), time.Since(loaded)
		s := c.await("node-b", "a session", func(s dataplane.Status) bool { return s.State == dataplane.Ready && sessions(s) == 1 })
		if s.PublicKey != key || string(s.Backend) != backend {
			t.Errorf("key %s, backend %s; want %s and %s", s.PublicKey, s.Backend, key, backend)
		}
		t.Logf("%s: a new session, and datagrams in it, %v after the start of the daemon, of which the programs took all but %v (race detector: %v)",
			backend, all.Round(time.Millisecond), took.Round(time.Millisecond), race)
		// The claim is 2 s from the start. An emulated processor needs more than that
		// for loading the programs alone, so it is not asked for that; a peer left to
		// itself needs 12 s to notice.
		if took > 6*time.Second {
			t.Errorf("%s: it took %v", backend, took)
		}
		c.encrypted(func() { c.mustFlow(c.Flows()...) })
	}
}

// terminate stops a daemon as a service manager does.
func (c *cluster) terminate(name string) {
	c.t.Helper()
	cmd := c.daemons[name]
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		c.t.Errorf("the daemon of %s: %v", name, err)
	}
	delete(c.daemons, name)
}

// numbered are datagrams from node-a/pod-1 to node-b/pod-1, of which none may be lost.
type numbered struct {
	sent, heard atomic.Uint64
	stop        chan struct{}
	ended       sync.WaitGroup
	listener    net.PacketConn
}

func startNumbered(t *testing.T, c *cluster) *numbered {
	t.Helper()
	to := c.node("node-b").Pods[0]
	at := netip.AddrPortFrom(to.IPs[0], 9002)
	s := &numbered{stop: make(chan struct{})}
	var err error
	if s.listener, err = to.ListenPacket(t.Context(), "udp", at); err != nil {
		t.Fatal(err)
	}
	sender, err := c.node("node-a").Pods[0].Dial(t.Context(), "udp", at)
	if err != nil {
		t.Fatal(err)
	}
	s.ended.Go(func() {
		defer sender.Close()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				if _, err := sender.Write([]byte("x")); err == nil {
					s.sent.Add(1)
				}
			}
		}
	})
	go func() {
		for b := make([]byte, 8); ; s.heard.Add(1) {
			if _, _, err := s.listener.ReadFrom(b); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { s.listener.Close() })
	return s
}

// end returns how many were sent, and how many of them did not come.
func (s *numbered) end() (sent, lost uint64) {
	close(s.stop)
	s.ended.Wait()
	sent = s.sent.Load()
	for end := time.Now().Add(2 * time.Second); s.heard.Load() < sent && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	return sent, sent - min(sent, s.heard.Load())
}

// linkOf is the number of a node's tunnel device, "" for none.
func (c *cluster) linkOf(name string) string {
	c.t.Helper()
	n := c.node(name)
	out, err := n.Command(c.t.Context(), "ip", "-o", "link", "show", "dev", n.Interface).Output()
	if _, gone := err.(*exec.ExitError); err != nil && !gone {
		c.t.Fatal(err)
	}
	number, _, _ := strings.Cut(string(out), ":")
	return number
}
