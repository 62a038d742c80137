package kubee2e_test

import (
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestAPIServerAway: it restarts, it is away, and meanwhile a daemon restarts and a node
// boots: they talk to the peers that they knew.
func TestAPIServerAway(t *testing.T) { testAPIServerAway(t, 0) }

// TestLongAPIServerAway: for a minute.
func TestLongAPIServerAway(t *testing.T) {
	privtest.Long(t)
	testAPIServerAway(t, time.Minute)
}

func testAPIServerAway(t *testing.T, outage time.Duration) {
	c, k := encryptedCluster(t)
	all, two := []string{"node-a", "node-b", "node-c"}, []string{"node-a", "node-b"}
	c.encrypted(func() {
		c.api.Stop()
		c.mustFlow(two...)
		c.api.Start(t)
		c.join(k, "node-c")
		c.joined(all...)

		c.api.Kill()
		gone := time.Now()
		before := c.kubelets["node-a"].pid()
		c.kubelets["node-a"].kill()
		c.until("another daemon on node-a", func() bool { return c.kubelets["node-a"].pid() != before })
		c.joined(all...)
		c.await("node-a", "a problem that names the API server", func(s dataplane.Status) bool {
			return mentions(s, c.apiServer().String())
		})
		c.mustFlow(all...)

		k.drain("node-b")
		c.kubelets["node-b"].reboot()
		c.joined(all...)
		k.from("node-b")
		c.mustFlow(all...)
		s := c.stream("node-b", "node-c", 4)
		for time.Since(gone) < outage {
			s.goesOn(c)
			time.Sleep(time.Second)
		}
		s.goesOn(c)
		c.api.Start(t)
		for _, n := range all {
			c.await(n, "no problem", func(s dataplane.Status) bool { return s.Ready && len(s.Problems) == 0 })
		}
		// They have caught up: what changes now is seen.
		k.drain("node-c")
		c.stopPod("node-c")
		c.api.DeleteNode(t, "node-c")
		c.joined(two...)
		c.mustFlow(two...)
	})
}

// TestLongAPIServerSilent: nothing of it comes to node-a any more, and nothing says so.
// node-a tells, and catches up.
func TestLongAPIServerSilent(t *testing.T) {
	privtest.Long(t)
	privtest.Tool(t, "nft")
	c, k := encryptedCluster(t)
	all := []string{"node-a", "node-b", "node-c"}
	c.join(k, "node-c")
	c.joined(all...)
	c.encrypted(func() {
		c.sh(c.node("node-a").Namespace, `nft add table inet silent
nft add chain inet silent out '{ type filter hook output priority 0; }'
nft add chain inet silent in '{ type filter hook input priority 0; }'
nft add rule inet silent out ip daddr %[1]s drop
nft add rule inet silent in ip saddr %[1]s drop`, c.apiServer().Addr())
		k.drain("node-c")
		c.stopPod("node-c")
		c.api.DeleteNode(t, "node-c")
		c.awaitSessions("node-b", "node-a")
		began := time.Now()
		c.within(3*time.Minute, "node-a's problem with the API server", func() bool { return mentions(c.status("node-a"), c.apiServer().String()) })
		t.Logf("told after %v", time.Since(began).Round(time.Second))
		if s := c.status("node-a"); !s.Ready || len(s.Peers) != 2 {
			t.Errorf("node-a: %+v", s)
		}
		c.mustFlow("node-a", "node-b")
		c.sh(c.node("node-a").Namespace, "nft delete table inet silent")
		c.within(3*time.Minute, "node-a without node-c", func() bool {
			s := c.status("node-a")
			return s.Ready && len(s.Peers) == 1 && len(s.Problems) == 0
		})
	})
}
