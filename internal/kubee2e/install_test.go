package kubee2e_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// values of the chart for a lab: strict, and the nodes' addresses known as such, all
// but the API server's.
const values = `
clusterCIDRs: [10.244.0.0/16, "fd00:10:244::/48"]
nodeCIDRs: [192.0.2.0/25, "2001:db8:0:1::/121"]
startupTaint: {enabled: true}
`

// TestInstall: from `helm template` to pods that talk encrypted.
func TestInstall(t *testing.T) {
	c := up(t, netlab.Options{Nodes: 3})
	names := []string{"node-a", "node-b", "node-c"}
	k := c.knocks()
	k.unencrypted(names...)
	c.install(values)
	for _, n := range names {
		c.register(n)
		c.startPod(n)
	}
	c.joined(names...)
	c.encrypted(func() { k.once(); c.mustFlow(names...) })

	c.kubectl("wait", "wgn", "--all", "--for=condition=Ready", "--timeout=30s")
	c.kubectl("wait", "wgn", "--all", "--for=condition=Guarded", "--timeout=30s")
	c.kubectl("wait", "wgn", "--all", "--for=condition=PeersReachable", "--timeout=30s")
	t.Logf("kubectl get wgn -o wide:\n%s", c.kubectl("get", "wgn", "-o", "wide"))
	for _, n := range names {
		c.untainted(n)
		c.owned(n)
		c.confined(n)
	}
}

// untainted waits until the start-up taint is off a node.
func (c *cluster) untainted(name string) {
	c.t.Helper()
	c.until(name+" without its start-up taint", func() bool {
		return !strings.Contains(c.kubectl("get", "node", name, "-o", "jsonpath={.spec.taints[*].key}"), taint)
	})
}

// owned checks that a record goes when its Node does: no garbage collector runs here.
func (c *cluster) owned(name string) {
	c.t.Helper()
	node, err := c.api.Clientset(c.t).CoreV1().Nodes().Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	want := "v1 Node " + name + " " + string(node.UID) + "\n"
	c.until("a record of "+name+" that its Node owns", func() bool {
		return c.kubectl("get", "wgn", name, "-o", `jsonpath={range .metadata.ownerReferences[*]}{.apiVersion} {.kind} {.name} {.uid}{"\n"}{end}`) == want
	})
}
