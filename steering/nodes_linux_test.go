package steering_test

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/wgsteer/wgsteer/steering"
)

// TestNodeCIDRs: with them a pod exchanges nothing in plaintext with a node that is no
// peer, be it that its record never came or has gone. The nodes themselves do.
func TestNodeCIDRs(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		_, index := openTUN(t, o.Name)
		with := func(state steering.State, change func(*steering.State)) steering.State {
			state.NodeCIDRs = prefixes("192.0.2.0/24", "2001:db8::/64")
			change(&state)
			return state
		}
		nothing := func(*steering.State) {}
		for _, step := range []struct {
			name            string
			state           steering.State
			verdict, reason string // between a pod and the other node
		}{
			{"without node CIDRs", guard(), "pass", "not_pod_traffic"}, // the control
			{"permissive", with(guard(), func(s *steering.State) { s.Strict = false }), "pass", "unknown_node"},
			{"guarding", with(guard(), nothing), "drop", "unknown_node"},
			{"its record came", with(steered(index), nothing), "drop", "plaintext_in"},
			{"its record has gone", with(steered(index), func(s *steering.State) { s.Peers = nil }), "drop", "unknown_node"},
		} {
			apply(t, s, step.state)
			for _, way := range []struct {
				name       string
				from, at   netns.NsHandle
				source, to netip.Addr
				hook       string
				ofPod      bool
			}{
				{"pod to node", n.pod, n.world, podAddr, peerNode, "egress", true},
				{"pod to node, IPv6", n.pod, n.world, podAddr6, peerNode6, "egress", true},
				{"node to pod", n.world, n.pod, peerNode, podAddr, "ingress", true},
				{"node to pod, IPv6", n.world, n.pod, peerNode6, podAddr6, "ingress", true},
				{"to node", n.host, n.world, nodeAddr, peerNode, "egress", false},
				{"to node, IPv6", n.host, n.world, nodeAddr6, peerNode6, "egress", false},
				{"from node", n.world, n.host, peerNode, nodeAddr, "ingress", false},
				{"pod to its node", n.pod, n.host, podAddr, nodeAddr, "", false},
			} {
				t.Run(step.name+"/"+way.name, func(t *testing.T) {
					plain := listen(t, way.at, way.to)
					before := s.Status()
					send(t, way.from, way.source, way.to, t.Name())
					verdict, reason := step.verdict, step.reason
					switch {
					case !way.ofPod:
						verdict, reason = "pass", "not_pod_traffic"
					case reason == "plaintext_in" && way.hook == "egress":
						verdict, reason = "encrypt", "to_remote_node"
					}
					if way.hook != "" {
						grew(t, s, before, way.hook, verdict, reason)
					}
					if verdict != "pass" {
						nothingCame(t, plain)
						return
					}
					arrives(t, plain, t.Name())
				})
			}
		}
	})
}
