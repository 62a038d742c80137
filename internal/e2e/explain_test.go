package e2e_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/steering"
)

// TestExplain asks a node what becomes of its pods' packets, while its daemon
// lives and after it was killed.
func TestExplain(t *testing.T) {
	c := upWith(t, plain, netlab.Options{Pods: 1})
	a, b := c.node("node-a"), c.node("node-b")
	explain := func(from, to netip.Addr) steering.Explanation { return c.explain("node-a", from, to) }
	mtu := c.status("node-a").MTU
	for i, pod := range a.Pods[0].IPs {
		e := explain(pod, b.Pods[0].IPs[i])
		if e.Verdict != "encrypt" || e.Reason != "to_remote_pod" || e.Device != a.Interface || e.MTU != mtu || e.Longer == "" || e.Peer != "node-b" || e.Plaintext || len(e.Layers) == 0 {
			t.Errorf("pod to pod: %+v", e)
		}
		if e := explain(pod, b.IPs[i]); e.Reason != "to_remote_node" || len(e.Notes) != 1 {
			t.Errorf("pod to node: %+v", e)
		}
		if e := explain(b.Pods[0].IPs[i], pod); e.Direction != "in" || e.Reason != "to_local" || e.Device != a.Interface {
			t.Errorf("pod from pod: %+v", e)
		}
		if e := explain(a.IPs[i], b.IPs[i]); e.Verdict != "pass" || e.Reason != "not_pod_traffic" || e.Device != "eth0" || len(e.Layers) != 0 {
			t.Errorf("node to node: %+v", e)
		}
	}
	c.kill("node-a")
	c.until("the end of the tunnel device", func() bool {
		e := explain(a.Pods[0].IPs[0], b.Pods[0].IPs[0])
		return e.Verdict == "drop" && e.Reason == "no_tunnel" && !e.Plaintext
	})
}

// explain asks a node what becomes of a packet there.
func (c *cluster) explain(name string, from, to netip.Addr) (e steering.Explanation) {
	c.t.Helper()
	text, err := c.wgsteer(name, "explain", from.String(), to.String(), "-o", "json")
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &e); err != nil {
		c.t.Fatalf("%v in:\n%s", err, text)
	}
	return e
}
