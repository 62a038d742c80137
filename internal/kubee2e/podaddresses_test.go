package kubee2e_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestPodAddresses: Nodes without pod CIDRs, as with a CNI that has its own address
// management; which pods are where, the Pods say.
func TestPodAddresses(t *testing.T) {
	c := up(t, netlab.Options{Nodes: 2, Pods: 2, CNI: netlab.Routes})
	names := []string{"node-a", "node-b"}
	k := c.knocks()
	k.unencrypted(names...)
	c.install(values + "\npodAddresses: pods\n")
	c.api.Create(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: default}}")
	for _, n := range c.Nodes {
		c.api.CreateNode(t, n.Name, texts(n.IPs), nil)
		for _, p := range n.Pods {
			c.place(p, n.Name)
		}
		c.startPod(n.Name)
	}
	c.joined(names...)
	for _, n := range c.Nodes {
		c.await(n.Name, "its pods and no others", func(s dataplane.Status) bool { return slices.Equal(sorted(s.PodCIDRs), addresses(n.Pods...)) })
	}
	c.encrypted(func() { k.once(); c.mustFlow(names...) })

	// A pod that is gone is nobody's; its address may come back on another node.
	gone := c.Nodes[1].Pods[1]
	c.unplace(gone)
	c.await("node-a", "node-b with the pod that is left", func(s dataplane.Status) bool {
		return len(s.Peers) == 1 && slices.Equal(sorted(s.Peers[0].PodCIDRs), addresses(c.Nodes[1].Pods[0]))
	})
	c.encrypted(func() {
		f := netlab.Flow{From: "node-a/pod-1", To: gone.FullName(), Protocol: netlab.UDP, Family: 4}
		if r := c.RunFlows(t.Context(), []netlab.Flow{f}, brief)[0]; r.OK {
			t.Errorf("%s works, though no Pod has that address", f)
		}
		c.place(gone, "node-b")
		c.await("node-a", "node-b with both", func(s dataplane.Status) bool {
			return len(s.Peers) == 1 && slices.Equal(sorted(s.Peers[0].PodCIDRs), addresses(c.Nodes[1].Pods...))
		})
		c.mustFlow(names...)
	})
}

// place makes the Pod of a pod of the lab, as scheduler and kubelet do.
func (c *cluster) place(p *netlab.Pod, node string) {
	c.t.Helper()
	name := object(p)
	c.api.Create(c.t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: default}
spec: {nodeName: %s, containers: [{name: app, image: app}]}
`, name, node))
	var ips []string
	for _, ip := range p.IPs {
		ips = append(ips, fmt.Sprintf(`{"ip":%q}`, ip))
	}
	status := fmt.Sprintf(`{"status":{"phase":"Running","podIP":%q,"podIPs":[%s]}}`, p.IPs[0], strings.Join(ips, ","))
	c.kubectl("patch", "pod", name, "--namespace", "default", "--subresource", "status", "--type", "merge", "--patch", status)
}

// unplace deletes it.
func (c *cluster) unplace(p *netlab.Pod) {
	c.t.Helper()
	now := int64(0)
	if err := c.api.Clientset(c.t).CoreV1().Pods("default").Delete(c.t.Context(), object(p), metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		c.t.Fatal(err)
	}
}

// object is the name of a pod's Pod.
func object(p *netlab.Pod) string { return strings.ReplaceAll(p.FullName(), "/", "-") }

// addresses are those of pods, as prefixes.
func addresses(pods ...*netlab.Pod) (all []netip.Prefix) {
	for _, p := range pods {
		for _, ip := range p.IPs {
			all = append(all, netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	return sorted(all)
}

func sorted(list []netip.Prefix) []netip.Prefix {
	return slices.SortedFunc(slices.Values(list), netip.Prefix.Compare)
}
