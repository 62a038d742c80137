package main

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestLabConfig: the strict parser of `wgsteer run` takes what a lab writes,
// for the largest lab too.
func TestLabConfig(t *testing.T) {
	net, err := netlab.New(netlab.Options{Run: "abcdefgh", Nodes: netlab.MaxNodes})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range net.Nodes {
		text, err := labDaemonOf(net, node, "auto").text()
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseConfig(labConfigFile(net, node), text, nodeNames{host: "some-host"})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		want := dataplane.Config{
			Node: node.Name, Interface: node.Interface, ListenPort: dataplane.DefaultListenPort,
			ClusterCIDRs: net.ClusterCIDRs, PodCIDRs: node.PodCIDRs, NodeIPs: node.IPs,
			Policy: dataplane.Strict, Backend: dataplane.Auto, StateDir: node.StateDir, BPFFS: node.BPFFS,
		}
		if diff := cmp.Diff(want, c.Plane, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("configuration (-want +got):\n%s", diff)
		}
		if c.Directory != net.Records || c.RunDir != node.RunDir {
			t.Errorf("records in %s, control socket in %s", c.Directory, c.RunDir)
		}
		if socket := c.socketPath(); len(socket) > 107 {
			t.Errorf("socket path %s is longer than sun_path has room for", socket)
		}
	}
}
