package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/steering"
)

func TestExplainTable(t *testing.T) {
	e := steering.Explanation{
		Source:      steering.End{Address: netip.MustParseAddr("10.244.1.5"), Class: "local_pod", Meaning: "a pod here", Prefix: netip.MustParsePrefix("10.244.1.0/24")},
		Destination: steering.End{Address: netip.MustParseAddr("192.0.2.2"), Class: "remote_node", Meaning: "a peer", Prefix: netip.MustParsePrefix("192.0.2.2/32"), Peer: "node-b"},
		Strict:      true, Direction: "out", Verdict: "encrypt", Reason: "to_remote_node", Why: "because",
		Route:  steering.Route{Type: "unicast", Match: netip.MustParsePrefix("192.0.2.0/24"), Device: "eth0"},
		Device: "wgsteer0", MTU: 1420, Longer: "is dropped", Peer: "node-b",
		Steps:  []steering.Step{{Hook: "egress", Device: "eth0", Verdict: "encrypt", Reason: "to_remote_node"}},
		Layers: []steering.Layer{{Name: "program", There: true, Detail: "tcx on the egress of eth0"}, {Name: "tunnel_route", Detail: "none"}},
		Notes:  []string{"masquerade"},
	}
	const want = `10.244.1.5 > 192.0.2.2: encrypt, to_remote_node
  because

  from       10.244.1.5, local_pod (10.244.1.0/24): a pod here
  to         192.0.2.2, remote_node of node-b: a peer
  direction  out
  policy     strict
  route      192.0.2.0/24 dev eth0
  device     wgsteer0, MTU 1420
  longer     is dropped
  peer       node-b

  PROGRAM AT  OF    VERDICT  REASON
  egress      eth0  encrypt  to_remote_node

  KEPT FROM PLAINTEXT BY       
  program                 yes  tcx on the egress of eth0
  tunnel_route            no   none

  note: masquerade
`
	var b strings.Builder
	if err := explainTable(&b, e, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	e.Plaintext = true
	b.Reset()
	if err := explainTable(&b, e, true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), paint(true, red, "in plaintext")) {
		t.Errorf("it does not say that it is plaintext:\n%s", &b)
	}
}

func TestRouteText(t *testing.T) {
	gateway := netip.MustParseAddr("192.0.2.254")
	for want, r := range map[string]steering.Route{
		"default via 192.0.2.254 dev eth0": {Type: "unicast", Match: netip.MustParsePrefix("0.0.0.0/0"), Device: "eth0", Gateway: gateway},
		"10.244.2.0/24 dev wgs0 (ours)":    {Type: "unicast", Match: netip.MustParsePrefix("10.244.2.0/24"), Device: "wgs0", Ours: true},
		"unreachable":                      {Type: "unreachable"},
		"fd00::/16 unreachable (ours)":     {Type: "unreachable", Match: netip.MustParsePrefix("fd00::/16"), Ours: true},
	} {
		if got := routeText(r); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
}
