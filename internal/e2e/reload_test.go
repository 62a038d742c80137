package e2e_test

import (
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestSwitchPolicyUnderTraffic: the policy changes on both nodes, there and back
// by reload, while datagrams go to and fro. All come back.
func TestSwitchPolicyUnderTraffic(t *testing.T) {
	c := up(t, netlab.Options{})
	for _, family := range c.Families {
		e := startEchoes(c, family)
		w := c.encrypted(func() {
			for _, policy := range []dataplane.Policy{"permissive", "strict", "permissive", "strict"} {
				for _, n := range c.Nodes {
					before := e.came.Load()
					c.setPolicy(n.Name, policy)
					c.until("500 datagrams more", func() bool { return e.came.Load() >= before+500 })
				}
			}
			e.stop(t)
		})
		if w.WireGuard.Frames == 0 {
			t.Errorf("IPv%d: no WireGuard on the wire: %+v", family, w)
		}
		t.Logf("IPv%d: %d datagrams there and back", family, e.came.Load())
	}
}

// TestWhatStrictWouldDrop: a permissive node tells what of its plaintext strict
// would drop, and since when there is none.
func TestWhatStrictWouldDrop(t *testing.T) {
	c := up(t, netlab.Options{})
	c.setPolicy("node-a", dataplane.Permissive)
	calm := c.status("node-a").Steering.Plaintext
	if calm.Packets != 0 || calm.Since.IsZero() {
		t.Fatalf("before any plaintext: %+v", calm)
	}
	c.mustFlow(c.Flows()...)
	if now := c.status("node-a").Steering.Plaintext; now != calm {
		t.Errorf("what is encrypted is taken for plaintext: %+v, before %+v", now, calm)
	}
	conn, err := c.node("node-a").Pods[0].Dial(t.Context(), "udp4", netip.MustParseAddrPort("10.244.77.7:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := c.await("node-a", "a datagram that strict would drop", func(s dataplane.Status) bool {
		_, _ = conn.Write([]byte("anyone?")) // an ICMP error of an earlier one may be its result
		return s.Steering.Plaintext.Packets > 0 && s.Steering.Plaintext.Since.After(calm.Since)
	})
	if counted(s, "egress", "pass", "unknown_peer") != s.Steering.Plaintext.Packets {
		t.Errorf("plaintext %+v of %+v", s.Steering.Plaintext, s.Steering.Verdicts)
	}
	c.setPolicy("node-a", dataplane.Strict)
	if now := c.status("node-a").Steering.Plaintext; !now.Since.IsZero() {
		t.Errorf("strict, and yet %+v", now)
	}
}

// setPolicy rewrites a node's configuration and has it reloaded.
func (c *cluster) setPolicy(name string, policy dataplane.Policy) {
	c.t.Helper()
	path := c.config(c.node(name))
	text, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	rest, _, _ := strings.Cut(string(text), "policy: ") // the last field, if it is there
	if err := os.WriteFile(path, []byte(rest+"policy: "+string(policy)+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := c.daemons[name].Process.Signal(syscall.SIGHUP); err != nil {
		c.t.Fatal(err)
	}
	c.await(name, "policy "+string(policy), func(s dataplane.Status) bool {
		return s.Ready && s.Policy == policy && s.Steering.Plaintext.Since.IsZero() == (policy == dataplane.Strict)
	})
}

// echoes are datagrams from the first pod of node-a to that of node-b and back,
// at most 32 on their way, so that no buffer overflows.
type echoes struct {
	sent, came atomic.Int64
	stop       func(t *testing.T) // waits for all, and fails if one is lost
}

func startEchoes(c *cluster, family int) *echoes {
	c.t.Helper()
	to, err := c.Find("node-b/pod-1")
	if err != nil {
		c.t.Fatal(err)
	}
	ip, err := to.IP(family)
	if err != nil {
		c.t.Fatal(err)
	}
	server, err := to.ListenPacket(c.t.Context(), "udp", netip.AddrPortFrom(ip, 9001))
	if err != nil {
		c.t.Fatal(err)
	}
	client, err := c.node("node-a").Pods[0].Dial(c.t.Context(), "udp", netip.AddrPortFrom(ip, 9001))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { server.Close(); client.Close() })
	go func() {
		buffer := make([]byte, 64)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buffer[:n], from) // a loss is seen by the client
		}
	}()
	e := &echoes{}
	window, done, ended := make(chan struct{}, 32), make(chan struct{}), make(chan struct{})
	go func() {
		buffer := make([]byte, 64)
		for {
			if _, err := client.Read(buffer); err != nil {
				return
			}
			e.came.Add(1)
			<-window
		}
	}()
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case window <- struct{}{}:
			}
			e.sent.Add(1)
			_, _ = client.Write([]byte("there and back")) // as above
		}
	}()
	e.stop = func(t *testing.T) {
		close(done)
		<-ended
		for deadline := time.Now().Add(10 * time.Second); e.came.Load() < e.sent.Load() && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if sent, came := e.sent.Load(), e.came.Load(); sent != came {
			t.Errorf("IPv%d: %d of %d datagrams are lost", family, sent-came, sent)
		}
	}
	return e
}
