package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
	"github.com/wgsteer/wgsteer/steering"
)

// well is a node where nothing is wrong.
func well() dataplane.Status {
	return dataplane.Status{
		State: dataplane.Ready, Ready: true, Node: "node-a", MTU: 1420, Policy: dataplane.Strict,
		Backend: dataplane.Kernel, BackendReason: "auto: the kernel has WireGuard",
		Peers: []dataplane.Peer{{Name: "node-b"}, {Name: "node-c"}},
	}
}

// The conditions of a node, as "Type=Status Reason: message".
func TestRecordConditions(t *testing.T) {
	names := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("node-%d", i))
		}
		return names
	}
	for name, tt := range map[string]struct {
		change func(*dataplane.Status)
		found  silents
		want   []string
	}{
		"all is well": {want: []string{"Ready=True Ready: ", "Guarded=True Strict: ", "PeersReachable=True PeersAnswer: "}},
		"starting": {
			change: func(s *dataplane.Status) {
				s.State, s.Ready, s.Reasons = dataplane.Guarding, false, []string{"putting the guard in place"}
			},
			want: []string{"Ready=False Guarding: putting the guard in place", "Guarded=False NotYet: the guard is not in place yet", "PeersReachable=Unknown NotReady: this node is not ready"},
		},
		"guarded before it is ready": {
			change: func(s *dataplane.Status) {
				s.State, s.Ready, s.Reasons = dataplane.Tunnelling, false, []string{"waiting for the tunnel device", "tunnel: no /dev/net/tun"}
			},
			want: []string{"Ready=False Tunnelling: waiting for the tunnel device; tunnel: no /dev/net/tun", "Guarded=True Strict: ", "PeersReachable=Unknown NotReady: this node is not ready"},
		},
		"degraded": {
			change: func(s *dataplane.Status) {
				s.State, s.Reasons, s.Steering.Failing = dataplane.Degraded, []string{"steering: no nf_tables"}, "no nf_tables"
			},
			want: []string{"Ready=True Degraded: steering: no nf_tables", "Guarded=False LayerFailing: no nf_tables", "PeersReachable=True PeersAnswer: "},
		},
		"permissive": {
			change: func(s *dataplane.Status) { s.Policy = dataplane.Permissive },
			want:   []string{"Ready=True Ready: ", "Guarded=False Permissive: the policy is permissive: what cannot be encrypted passes in plaintext, and is counted", "PeersReachable=True PeersAnswer: "},
		},
		"past the programs": {
			change: func(s *dataplane.Status) {
				s.Steering.Unsteerable = []steering.Device{{Name: "macvlan0", Reason: "macvlan"}}
			},
			want: []string{"Ready=True Ready: ", "Guarded=True StrictButUnsteerable: macvlan0 carries pod packets past the programs: macvlan", "PeersReachable=True PeersAnswer: "},
		},
		"pods that the guard does not know": {
			change: func(s *dataplane.Status) {
				s.Problems = []keymgr.Problem{{Node: "node-b", Record: dataplane.OwnPods, Message: "of another"}, {Node: "node-a", Record: dataplane.OwnPods, Message: "10.9.0.0/24 is in none of clusterCIDRs"}}
			},
			want: []string{"Ready=True Ready: ", "Guarded=False PodsOutsideCluster: 10.9.0.0/24 is in none of clusterCIDRs", "PeersReachable=True PeersAnswer: "},
		},
		"pods of others that the guard does not know": {
			change: func(s *dataplane.Status) { s.PodsOutside = []string{"node-b", "node-c"} },
			want:   []string{"Ready=True Ready: ", "Guarded=False PodsOutsideCluster: clusterCIDRs do not hold all pods of node-b, node-c: those talk in plaintext; add prefixes there that hold them", "PeersReachable=True PeersAnswer: "},
		},
		"the same, permissive": {
			change: func(s *dataplane.Status) {
				s.Policy, s.PodsOutside = dataplane.Permissive, []string{"node-b"}
			},
			want: []string{"Ready=True Ready: ", "Guarded=False Permissive: the policy is permissive: what cannot be encrypted passes in plaintext, and is counted", "PeersReachable=True PeersAnswer: "},
		},
		"alone": {
			change: func(s *dataplane.Status) { s.Peers = nil },
			want:   []string{"Ready=True Ready: ", "Guarded=True Strict: ", "PeersReachable=True NoPeers: "},
		},
		"none has answered yet": {
			found: silents{Waiting: []string{"node-b", "node-c"}},
			want:  []string{"Ready=True Ready: ", "Guarded=True Strict: ", "PeersReachable=Unknown Waiting: no peer has answered yet"},
		},
		"one has joined": {
			found: silents{Waiting: []string{"node-c"}},
			want:  []string{"Ready=True Ready: ", "Guarded=True Strict: ", "PeersReachable=True PeersAnswer: "},
		},
		"many are silent": {
			found: silents{Silent: names(7), Waiting: []string{"node-c"}},
			want:  []string{"Ready=True Ready: ", "Guarded=True Strict: ", "PeersReachable=False PeersSilent: no answer from node-0, node-1, node-2, node-3, node-4 and 2 more; `wgsteer check` on this node says what to look at"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := well()
			if tt.change != nil {
				tt.change(&s)
			}
			told := recordStatus(s, "v0.1.0", tt.found, v1alpha1.WireGuardNodeStatus{}, noon)
			var got []string
			for _, c := range told.Conditions {
				got = append(got, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Traffic, handshakes and peers that come change nothing: nothing is written for them.
func TestRecordStatusStandsStill(t *testing.T) {
	before := recordStatus(well(), "v0.1.0", silents{}, v1alpha1.WireGuardNodeStatus{}, noon)
	s := well()
	s.Peers[0].RxBytes, s.Peers[0].LastHandshake = 1<<30, noon
	s.Peers = append(s.Peers, dataplane.Peer{Name: "node-d"})
	s.Steering.Verdicts = []steering.Verdict{{Hook: "egress", Verdict: "drop", Reason: "unknown_peer", Packets: 12}}
	s.Steering.Changes = 7
	after := recordStatus(s, "v0.1.0", silents{Waiting: []string{"node-d"}}, before, noon.Add(time.Hour))
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if before.Backend != "kernel" || before.BackendReason != "auto: the kernel has WireGuard" || before.TunnelMTU != 1420 || before.Version != "v0.1.0" {
		t.Errorf("got %+v", before)
	}
}

// A condition has been so since its status changed, whatever its reason is.
func TestRecordTransitions(t *testing.T) {
	at := func(c v1alpha1.WireGuardNodeStatus) time.Time { return c.Conditions[0].LastTransitionTime.Time }
	s := well()
	first := recordStatus(s, "", silents{}, v1alpha1.WireGuardNodeStatus{}, noon)
	s.State, s.Reasons = dataplane.Degraded, []string{"claims: the disk is full"}
	second := recordStatus(s, "", silents{}, first, noon.Add(time.Minute))
	s.Ready, s.State = false, dataplane.Tunnelling
	third := recordStatus(s, "", silents{}, second, noon.Add(2*time.Minute))
	if !at(first).Equal(noon) || !at(second).Equal(noon) || !at(third).Equal(noon.Add(2*time.Minute)) {
		t.Errorf("transitions at %s, %s, %s", at(first), at(second), at(third))
	}
	if second.Conditions[0].Reason != "Degraded" {
		t.Errorf("reason %s", second.Conditions[0].Reason)
	}
}

// What is told is within what the API takes.
func TestRecordStatusIsBounded(t *testing.T) {
	s := well()
	for i := range 40 {
		s.Problems = append(s.Problems, keymgr.Problem{Node: fmt.Sprintf("node-%d", i), Record: "wireguardnodes/x", Message: strings.Repeat("ü", 2000), Warning: i == 1})
	}
	s.BackendReason = "broken \xff text"
	s.Reasons = []string{strings.Repeat("r", 5000)}
	told := recordStatus(s, strings.Repeat("v", 300), silents{}, v1alpha1.WireGuardNodeStatus{}, noon)
	if len(told.Problems) != v1alpha1.MaxProblems || len(told.Version) != 128 || !utf8.ValidString(told.BackendReason) {
		t.Errorf("%d problems, version of %d bytes, reason %q", len(told.Problems), len(told.Version), told.BackendReason)
	}
	for _, p := range told.Problems {
		if len(p.Message) > v1alpha1.MaxProblemMessage || !strings.HasPrefix(p.Message, "wireguardnodes/x: ü") || !utf8.ValidString(p.Message) {
			t.Errorf("a message of %d bytes: %.40q", len(p.Message), p.Message)
		}
	}
	if p := told.Problems; p[0].Warning || !p[1].Warning || p[1].Node != "node-1" {
		t.Errorf("got %+v", p[1])
	}
	if m := told.Conditions[0].Message; len(m) > v1alpha1.MaxProblemMessage {
		t.Errorf("a condition's message of %d bytes", len(m))
	}
}
