package kubee2e_test

import (
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// kubeadm tells the cluster's prefixes as kubeadm leaves them; the document's commands do
// not.
const kubeadm = `
apiVersion: v1
kind: ConfigMap
metadata: {name: kubeadm-config, namespace: kube-system}
data:
  ClusterConfiguration: |
    apiVersion: kubeadm.k8s.io/v1beta4
    kind: ClusterConfiguration
    networking: {podSubnet: "10.244.0.0/16,fd00:10:244::/48", serviceSubnet: 10.96.0.0/16}
`

// running is a cluster of three nodes, without wgsteer, whose pods talk and have streams
// between them.
func running(t *testing.T) (c *cluster, k *knocks, streams []*stream) {
	t.Helper()
	c = up(t, netlab.Options{Nodes: 3})
	k = c.knocks()
	k.unencrypted("node-a", "node-b", "node-c")
	streams = []*stream{c.stream("node-a", "node-c", 4), c.stream("node-c", "node-b", 6)}
	for _, n := range c.Nodes {
		c.api.CreateNode(t, n.Name, texts(n.IPs), texts(n.PodCIDRs))
	}
	c.api.Create(t, kubeadm)
	c.control()
	return c, k, streams
}

// TestEnable switches encryption on in a running cluster by the commands of
// docs/kubernetes.md: permissive, then strict, node by node. Streams between pods that
// were there before live through all of it.
func TestEnable(t *testing.T) {
	c, k, streams := running(t)
	doc := c.document()
	going := func() {
		t.Helper()
		for _, s := range streams {
			s.goesOn(c)
		}
	}
	going()
	doc.run("permissive")
	c.joined("node-a", "node-b", "node-c")
	going()
	// All have a key: nothing that strict would drop is left.
	before := map[string]uint64{}
	for _, n := range c.Nodes {
		s := c.status(n.Name)
		before[n.Name] = s.Steering.Plaintext.Packets
		if s.Policy != dataplane.Permissive {
			t.Errorf("%s: policy %s", n.Name, s.Policy)
		}
	}
	if before["node-a"] == 0 {
		t.Error("node-a came first, and yet has let nothing through in plaintext")
	}
	c.encrypted(func() { k.once(); going(); c.mustFlow("node-a", "node-b", "node-c") })
	for _, n := range c.Nodes {
		if now := c.status(n.Name).Steering.Plaintext; now.Packets != before[n.Name] {
			t.Errorf("%s: packets in plaintext, of which there were %d: %+v", n.Name, before[n.Name], now)
		}
	}
	// It calls that safe after an hour.
	if out := doc.run("observe"); strings.Count(out, "to switch to strict: nothing would have been dropped since") != len(c.Nodes) {
		t.Error("not every node says since when nothing would have been dropped")
	}
	c.encrypted(func() { doc.run("strict") }) // nor while the pods are replaced
	going()
	for _, n := range c.Nodes {
		c.await(n.Name, "strict", func(s dataplane.Status) bool { return s.Policy == dataplane.Strict })
	}
	c.joined("node-a", "node-b", "node-c")
	c.encrypted(func() { k.once(); going(); c.mustFlow("node-a", "node-b", "node-c") })
	doc.run("verify")
	for _, s := range streams {
		t.Logf("%s: %d blocks", s.name, s.blocks.Load())
	}
}

// TestLongDocument: the rest of docs/kubernetes.md, from its installation to its removal.
func TestLongDocument(t *testing.T) {
	privtest.Long(t)
	c, k, _ := running(t)
	doc := c.document()
	doc.run("install")
	c.joined("node-a", "node-b", "node-c")
	key := c.status("node-a").PublicKey
	c.encrypted(func() {
		k.once()
		doc.run("wire")
		doc.run("rotate")
		c.joined("node-a", "node-b", "node-c")
		c.mustFlow("node-a", "node-b", "node-c")
	})
	if now := c.status("node-a").PublicKey; now == key {
		t.Errorf("the key of node-a is still %s", key)
	}
	doc.run("remove")
	if w := c.watch(func() { k.once(); c.mustFlow("node-a", "node-b", "node-c") }); w.PlaintextPod.Frames == 0 || w.WireGuard.Frames != 0 {
		t.Errorf("removed, and yet on the wire: %+v", w)
	}
	for _, n := range c.Nodes {
		out, err := n.Command(t.Context(), "sh", "-c", "ip -o link show wgsteer0 2>&1; nft list tables; ip route show proto 117; tc filter show dev eth0 egress").CombinedOutput()
		if err != nil || strings.Contains(string(out), "wgsteer") && !strings.Contains(string(out), "does not exist") {
			t.Errorf("%s after its removal: %v\n%s", n.Name, err, out)
		}
	}
}
