package netlab_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

func TestFlowsByPlainRouting(t *testing.T) {
	for _, families := range [][]int{{4}, {6}, {4, 6}} {
		t.Run(fmt.Sprint(families), func(t *testing.T) {
			lab := up(t, netlab.Options{Nodes: 3, Pods: 2, Families: families})
			capture, err := lab.Capture(port)
			if err != nil {
				t.Fatal(err)
			}
			flows := lab.Flows()
			reported := 0
			results := lab.RunFlows(t.Context(), flows, netlab.FlowOptions{Done: func(netlab.Result) { reported++ }})
			wire, err := capture.Stop()
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range results {
				want := int64(10 * 512)
				if r.Protocol == netlab.TCP {
					want = 1 << 20
				}
				if !r.OK || r.Error != "" || r.Bytes != want || r.RTT <= 0 || r.Flow != flows[i] {
					t.Errorf("flow %v: %+v", flows[i], r)
				}
			}
			if reported != len(flows) {
				t.Errorf("%d of %d flows were reported", reported, len(flows))
			}
			// Each UDP and ICMP flow is 10 requests and as many answers; TCP comes on top.
			if least := uint64(len(flows) / 3 * 2 * 20); wire.PlaintextPod.Frames <= least {
				t.Errorf("%d plaintext frames, want more than %d: %+v", wire.PlaintextPod.Frames, least, wire)
			}
			if wire.WireGuard.Frames != 0 || wire.Malformed.Frames != 0 || wire.PlaintextPodNode.Frames != 0 || wire.Lost != 0 {
				t.Errorf("odd frames on the wire: %+v", wire)
			}
		})
	}
}

func TestFlowsBetweenPodAndNode(t *testing.T) {
	lab := up(t, netlab.Options{})
	capture, err := lab.Capture(port)
	if err != nil {
		t.Fatal(err)
	}
	var flows []netlab.Flow
	for _, f := range lab.Flows() {
		there, back := f, f
		there.To, _, _ = strings.Cut(f.To, "/")
		back.From, _, _ = strings.Cut(f.From, "/")
		flows = append(flows, there, back)
	}
	for _, r := range lab.RunFlows(t.Context(), flows, netlab.FlowOptions{Bytes: 1000, Requests: 2}) {
		if !r.OK {
			t.Error(r.Error)
		}
	}
	wire, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if wire.PlaintextPodNode.Frames < uint64(len(flows)) || wire.PlaintextPod.Frames != 0 {
		t.Errorf("want frames between pods and nodes alone: %+v", wire)
	}
}

// route changes the routes of a node as ip-route(8) does.
func route(t *testing.T, n *netlab.Node, args ...string) {
	t.Helper()
	privtest.Tool(t, "ip")
	if out, err := n.Command(t.Context(), "ip", append([]string{"route"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ip route %v: %v: %s", args, err, out)
	}
}

func TestLostFlowsSayWhy(t *testing.T) {
	lab := up(t, netlab.Options{})
	route(t, lab.Nodes[0], "replace", "blackhole", "10.244.2.0/24")
	var lost, whole []netlab.Flow
	for _, f := range lab.Flows() {
		if f.Family == 4 {
			lost = append(lost, f)
		} else {
			whole = append(whole, f)
		}
	}
	for _, r := range lab.RunFlows(t.Context(), whole, netlab.FlowOptions{Timeout: time.Minute}) {
		if !r.OK {
			t.Errorf("IPv6 is not broken, but: %s", r.Error)
		}
	}
	options := netlab.FlowOptions{Timeout: 700 * time.Millisecond, Resend: 200 * time.Millisecond, Parallel: 16}
	for _, r := range lab.RunFlows(t.Context(), lost, options) {
		want := []string{r.Flow.String(), "no answer to request 0, sent ", "not done within 700ms"}
		if r.Protocol == netlab.TCP {
			want[1] = "connect"
		}
		if r.OK || r.Bytes != 0 {
			t.Errorf("%v is broken, but went through: %+v", r.Flow, r)
		}
		for _, w := range want {
			if !strings.Contains(r.Error, w) {
				t.Errorf("error %q, want one with %q", r.Error, w)
			}
		}
	}
}

func TestRefusedFlowsSayWhy(t *testing.T) {
	lab := up(t, netlab.Options{Families: []int{4}})
	route(t, lab.Nodes[0], "replace", "unreachable", "10.244.2.0/24")
	// TCP alone: errors by ICMP are limited in rate.
	r := lab.RunFlows(t.Context(), lab.Flows()[:1], netlab.FlowOptions{})
	if want := "connect: dial tcp4 "; r[0].OK || !strings.Contains(r[0].Error, want) || !strings.Contains(r[0].Error, "no route to host") {
		t.Errorf("%+v, want an error with %q and the reason", r[0], want)
	}
}

func TestFlowsEndWithTheirContext(t *testing.T) {
	lab := up(t, netlab.Options{Families: []int{4}})
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	for _, r := range lab.RunFlows(ended, lab.Flows(), netlab.FlowOptions{}) {
		if r.OK || !strings.Contains(r.Error, "enough") {
			t.Errorf("a flow after the end: %+v", r)
		}
	}
}

func TestFlowsThatCannotBe(t *testing.T) {
	lab := planned(t, netlab.Options{Run: "x", Families: []int{4}})
	for _, tc := range []struct {
		flow netlab.Flow
		want string
	}{
		{netlab.Flow{From: "node-z", To: "node-a", Protocol: netlab.TCP, Family: 4}, `no node or pod "node-z"`},
		{netlab.Flow{From: "node-a", To: "node-a/pod-9", Protocol: netlab.TCP, Family: 4}, `"node-a/pod-9"`},
		{netlab.Flow{From: "node-a", To: "node-b", Protocol: netlab.TCP, Family: 6}, "node-a has no IPv6 address"},
		{netlab.Flow{From: "node-a", To: "node-b", Protocol: "sctp", Family: 4}, `protocol "sctp"`},
		{netlab.Flow{From: "node-a", To: "node-b", Protocol: netlab.UDP, Family: 4}, "is lab x up?"},
	} {
		r := lab.RunFlows(t.Context(), []netlab.Flow{tc.flow}, netlab.FlowOptions{})
		if len(r) != 1 || r[0].OK || !strings.Contains(r[0].Error, tc.want) {
			t.Errorf("%v: %+v, want an error with %q", tc.flow, r, tc.want)
		}
	}
}
