package steering_test

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/wgsteer/wgsteer/steering"
)

// TestIngress has packets come in from the network outside of the tunnel: what
// should have been in it is dropped in strict mode, passes in permissive mode,
// and is counted in both.
func TestIngress(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		_, index := openTUN(t, o.Name)
		state := steered(index)
		for _, strict := range []bool{true, false} {
			name, refuse := "strict/", "drop"
			if !strict {
				name, refuse = "permissive/", "pass"
			}
			state.Strict = strict
			apply(t, s, state)
			for _, test := range []struct {
				name            string
				source, to      netip.Addr
				at              netns.NsHandle
				verdict, reason string
			}{
				{"peer's pod to pod", peerPod, podAddr, n.pod, refuse, "plaintext_in"},
				{"peer's pod to pod, IPv6", peerPod6, podAddr6, n.pod, refuse, "plaintext_in"},
				{"peer's pod to node", peerPod, nodeAddr, n.host, refuse, "plaintext_in"},
				{"unknown pod to pod", unknownPod, podAddr, n.pod, refuse, "plaintext_in"},
				{"peer's node to pod", peerNode, podAddr, n.pod, refuse, "plaintext_in"},
				{"peer's node to pod, IPv6", peerNode6, podAddr6, n.pod, refuse, "plaintext_in"},
				{"peer's node to node", peerNode, nodeAddr, n.host, "pass", "not_pod_traffic"},
				{"peer's node to node, IPv6", peerNode6, nodeAddr6, n.host, "pass", "not_pod_traffic"},
				{"the world to pod", outside, podAddr, n.pod, "pass", "not_pod_traffic"},
			} {
				t.Run(name+test.name, func(t *testing.T) {
					plain := listen(t, test.at, test.to)
					before := s.Status()
					send(t, n.world, test.source, test.to, t.Name())
					grew(t, s, before, "ingress", test.verdict, test.reason)
					if test.verdict == "drop" {
						nothingCame(t, plain)
						return
					}
					arrives(t, plain, t.Name())
				})
			}
		}
	})
}
