package main

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/wire"
)

// wellWire is a report in which all is well, before judge.
func wellWire() wireReport {
	return wireReport{
		Node: "node-a", Policy: dataplane.Strict, Seconds: 5,
		Devices:   []wireDevice{{Name: "eth0", Reason: "default route", Steered: true, ProbesSent: 2, ProbesSeen: 2}},
		WireGuard: wire.Count{Frames: 9, Bytes: 1800},
		Other:     wire.Count{Frames: 3, Bytes: 180},
		Pairs:     []wirePair{},
		Peers: []wirePeer{{Name: "node-b", Endpoint: netip.MustParseAddrPort("192.0.2.2:51871"),
			Sent: wire.Count{Frames: 5, Bytes: 1000}, Received: wire.Count{Frames: 4, Bytes: 800}, Handshakes: 1}},
	}
}

func TestJudgeWire(t *testing.T) {
	for name, tc := range map[string]struct {
		change            func(*wireReport)
		failures, warning string // part of the one there is; "" none
	}{
		"well":         {func(*wireReport) {}, "", ""},
		"plaintext":    {func(r *wireReport) { r.Plaintext.Frames = 2 }, "2 packets of pods could be read on the wire", ""},
		"blind":        {func(r *wireReport) { r.Devices[0].ProbesSeen = 1 }, "blind on eth0: it saw 1 of its own 2 probes", ""},
		"no probe":     {func(r *wireReport) { r.Devices[0].Error = "network is down" }, "blind on eth0: network is down", ""},
		"no device":    {func(r *wireReport) { r.Devices = nil }, "no device leads to other nodes", ""},
		"lost":         {func(r *wireReport) { r.Lost = 1 }, "the capture lost 1 packet, and may have missed plaintext", ""},
		"elsewhere":    {func(r *wireReport) { r.Peers[0].Sent, r.Peers[0].DaemonSent = wire.Count{}, 148 }, "blind to peer node-b: the daemon sent it 148 bytes", ""},
		"idle":         {func(r *wireReport) { r.Peers[0].Sent = wire.Count{} }, "", "nothing was sent to peer node-b meanwhile"},
		"unsteered":    {func(r *wireReport) { r.Devices[0].Steered = false }, "", "eth0 (default route) is not steered"},
		"malformed":    {func(r *wireReport) { r.Malformed.Frames = 4 }, "", "4 packets could not be parsed"},
		"unreachable":  {func(r *wireReport) { r.Peers[0].Sent, r.Peers[0].Silent = wire.Count{}, true }, "", "is there a route to its endpoint 192.0.2.2:51871?"},
		"silent":       {func(r *wireReport) { r.Peers[0].Silent, r.Peers[0].Unanswered = true, 1 }, "", "peer node-b at 192.0.2.2:51871 left 1 of 1 handshake unanswered"},
		"we are":       {func(r *wireReport) { r.Peers[0].HandshakesByPeer, r.Peers[0].UnansweredByThisNode = 3, 2 }, "", "this node left 2 of 3 handshakes of peer node-b unanswered"},
		"no endpoint":  {func(r *wireReport) { r.Peers[0] = wirePeer{Name: "node-b"} }, "", ""},
		"not greeted":  {func(r *wireReport) { r.Peers[0].Sent, r.GreetError = wire.Count{}, "busy" }, "", "did not greet its peers: busy"},
		"only a retry": {func(r *wireReport) { r.Peers[0].Handshakes, r.Peers[0].Unanswered = 2, 1 }, "", "left 1 of 2 handshakes unanswered"},
	} {
		t.Run(name, func(t *testing.T) {
			r := wellWire()
			tc.change(&r)
			r.judge()
			if r.OK != (tc.failures == "") || !strings.Contains(strings.Join(r.Failures, "\n"), tc.failures) || r.OK == (len(r.Failures) > 0) {
				t.Errorf("ok %v, failures %q, want %q", r.OK, r.Failures, tc.failures)
			}
			if got := strings.Join(r.Warnings, "\n"); !strings.Contains(got, tc.warning) || (tc.warning == "") != (got == "") {
				t.Errorf("warnings %q, want %q", got, tc.warning)
			}
		})
	}
}

func TestWireTable(t *testing.T) {
	r := wellWire()
	var b strings.Builder
	r.judge()
	if err := r.table(&b, false); err != nil {
		t.Fatal(err)
	}
	const well = `node-a, policy strict: 5 s on eth0

  ON THE WIRE        PACKETS    BYTES
  WireGuard                9  1.8 KiB
  plaintext of pods        0      0 B
  malformed                0      0 B
  other                    3    180 B

  PEER    ENDPOINT         SENT  RECEIVED  HANDSHAKES  UNANSWERED
  node-b  192.0.2.2:51871     5         4           1           0

ok    no plaintext of pods, and the capture saw its own probes
`
	if diff := cmp.Diff(well, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	r.Plaintext = wire.Count{Frames: 7, Bytes: 700}
	r.Pairs = []wirePair{{Device: "eth0", Direction: "out", Example: "10.244.1.2 > 10.244.2.2 TCP", Count: wire.Count{Frames: 5, Bytes: 500}}}
	r.judge()
	b.Reset()
	if err := r.table(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  10.244.1.2 > 10.244.2.2 TCP  eth0    out        5  500 B\n",
		"  between others                                  2       \n",
		"fail  7 packets of pods could be read on the wire\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, &b)
		}
	}
}

// TestWireReportOfACapture puts a sum and a status together.
func TestWireReportOfACapture(t *testing.T) {
	s := statusReply{Status: dataplane.Status{
		ListenPort: 51871, NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")},
		Peers:    []dataplane.Peer{{Name: "node-b", Endpoint: netip.MustParseAddrPort("198.51.100.2:5000"), PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24")}}},
		Steering: steering.Status{},
	}}
	cluster := wireCluster(s, dataplane.Config{
		ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, NodeCIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	if len(cluster.NodeCIDRs) != 1 || len(cluster.Nodes) != 2 || !slices.Contains(cluster.Nodes[1].IPs, netip.MustParseAddr("198.51.100.2")) || !slices.Equal(cluster.Ports, []uint16{51871, 5000}) {
		t.Errorf("cluster %+v", cluster)
	}
	s.Source.Cluster = &foundCluster{Cluster: keymgr.Cluster{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	for _, c := range []struct{ configured, want []netip.Prefix }{
		{nil, s.Source.Cluster.CIDRs}, {cluster.Pods, cluster.Pods},
	} {
		if got := wireCluster(s, dataplane.Config{ClusterCIDRs: c.configured}).Pods; !slices.Equal(got, c.want) {
			t.Errorf("with %v configured the cluster's pods are %v, want %v", c.configured, got, c.want)
		}
	}
	sum := wire.Sum{
		Pairs:   []wire.Pair{{From: netip.MustParseAddr("10.244.2.9"), To: netip.MustParseAddr("10.244.1.9"), Device: 4, Class: wire.PlaintextPod, Count: wire.Count{Frames: 2}}},
		Remotes: []wire.Remote{{Addr: s.Peers[0].Endpoint, Sent: wire.Count{Frames: 3}, Initiated: 2, Unanswered: 1}},
	}
	var r wireReport
	r.take(sum, map[int]string{4: "eth4"}, s.Peers, []string{"node-b"})
	later := s.Peers[0]
	later.TxBytes += 296
	r.compare(s.Peers, []dataplane.Peer{later})
	if got := r.Peers[0].DaemonSent; got != 296 {
		t.Errorf("the daemon sent %d bytes, want 296", got)
	}
	if p := r.Pairs[0]; p.Device != "eth4" || p.Direction != "in" || p.Class != "plaintext-pod" || p.Frames != 2 {
		t.Errorf("pair %+v", p)
	}
	if p := r.Peers[0]; p.Name != "node-b" || !p.Silent || p.Sent.Frames != 3 || p.Handshakes != 2 || p.Unanswered != 1 {
		t.Errorf("peer %+v", p)
	}
	text, err := json.Marshal(r.Pairs[0])
	if err != nil || !strings.Contains(string(text), `"frames":2`) {
		t.Errorf("%v: a pair's count is not in its JSON: %s", err, text)
	}
}
