package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// recordStatus is what the record of this node in Kubernetes says of how it is:
// nothing that changes while all is well, so that nothing is written then. previous
// is what it said before.
func recordStatus(s dataplane.Status, version string, found silents, previous v1alpha1.WireGuardNodeStatus, now time.Time) v1alpha1.WireGuardNodeStatus {
	told := v1alpha1.WireGuardNodeStatus{TunnelMTU: int32(s.MTU), Version: cut(version, 128)}
	if s.BackendReason != "" { // it is chosen
		told.Backend, told.BackendReason = cut(string(s.Backend), 32), cut(s.BackendReason, keymgr.MaxReason)
	}
	for _, j := range []judgement{judgeReady(s), judgeGuarded(s), judgeReach(s, found)} {
		told.Conditions = append(told.Conditions, v1alpha1.Condition(previous.Conditions, j.kind, j.status, j.reason, cut(j.message, v1alpha1.MaxProblemMessage), now))
	}
	for _, p := range s.Problems[:min(len(s.Problems), v1alpha1.MaxProblems)] {
		message := p.Message
		if p.Record != "" && p.Record != p.Node {
			message = p.Record + ": " + message
		}
		told.Problems = append(told.Problems, v1alpha1.Problem{
			Node: cut(p.Node, 256), Message: cut(message, v1alpha1.MaxProblemMessage), Warning: p.Warning,
		})
	}
	return told
}

// judgement is a condition without its time.
type judgement struct {
	kind            string
	status          v1alpha1.ConditionStatus
	reason, message string
}

func judgeReady(s dataplane.Status) judgement {
	j := judgement{v1alpha1.ConditionReady, v1alpha1.False, strings.ToUpper(string(s.State[:1])) + string(s.State[1:]), strings.Join(s.Reasons, "; ")}
	if s.Ready {
		j.status = v1alpha1.True
	}
	return j
}

// guardStands reports whether what must not leave or enter in plaintext is stopped,
// as far as the policy says and this node's own part goes: what another node says of its
// pods keeps none from this one. why says in CamelCase what is missing.
func guardStands(s dataplane.Status) (stands bool, why string) {
	switch {
	case s.State == dataplane.Stopped || s.State == dataplane.Checking || s.State == dataplane.Guarding:
		return false, "NotYet"
	case s.Steering.Failing != "":
		return false, "LayerFailing"
	case s.Policy == dataplane.Strict && unguarded(s) != "":
		return false, podsOutsideCluster
	}
	return true, ""
}

// podsOutsideCluster is the reason why pods are not guarded that clusterCIDRs do not
// hold, those of this node or of others.
const podsOutsideCluster = "PodsOutsideCluster"

// unguarded says which pods of this node the guard does not know as such.
func unguarded(s dataplane.Status) string {
	for _, p := range s.Problems {
		if p.Node == s.Node && p.Record == dataplane.OwnPods {
			return p.Message
		}
	}
	return ""
}

func judgeGuarded(s dataplane.Status) judgement {
	j := judgement{kind: v1alpha1.ConditionGuarded, status: v1alpha1.False}
	stands, why := guardStands(s)
	switch {
	case !stands:
		j.reason, j.message = why, cmp.Or(s.Steering.Failing, unguarded(s), "the guard is not in place yet")
	case s.Policy == dataplane.Strict && len(s.PodsOutside) > 0:
		j.reason = podsOutsideCluster
		j.message = "clusterCIDRs do not hold all pods of " + some(s.PodsOutside) + ": those talk in plaintext; add prefixes there that hold them"
	case s.Policy == dataplane.Permissive:
		j.reason, j.message = "Permissive", "the policy is permissive: what cannot be encrypted passes in plaintext, and is counted"
	default:
		j.status, j.reason = v1alpha1.True, "Strict"
		for _, d := range s.Steering.Unsteerable {
			j.reason = "StrictButUnsteerable"
			j.message += fmt.Sprintf("%s carries pod packets past the programs: %s; ", d.Name, d.Reason)
		}
		j.message = strings.TrimSuffix(j.message, "; ")
	}
	return j
}

// judgeReach leaves those out of which it cannot be told yet, unless it can of none:
// a node that joins shall not have all others write.
func judgeReach(s dataplane.Status, found silents) judgement {
	j := judgement{kind: v1alpha1.ConditionPeersReachable, status: v1alpha1.Unknown}
	switch {
	case !s.Ready:
		j.reason, j.message = "NotReady", "this node is not ready"
	case len(found.Silent) > 0:
		j.status, j.reason = v1alpha1.False, "PeersSilent"
		j.message = "no answer from " + some(found.Silent) + "; `wgsteer check` on this node says what to look at"
	case len(s.Peers) == 0:
		j.status, j.reason = v1alpha1.True, "NoPeers"
	case len(found.Waiting) == len(s.Peers):
		j.reason, j.message = "Waiting", "no peer has answered yet"
	default:
		j.status, j.reason = v1alpha1.True, "PeersAnswer"
	}
	return j
}

// maxNamed is how many of many are named.
const maxNamed = 5

// some names the first few, and counts the rest.
func some(names []string) string {
	text := strings.Join(names[:min(len(names), maxNamed)], ", ")
	if more := len(names) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// cut returns s as valid text of at most so many bytes.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return s
	}
	most -= len("...")
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "..."
}
