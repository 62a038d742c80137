package steering

import "github.com/wgsteer/wgsteer/bpf"

// decide is the class table of bpf/table.h, and what the programs make of it at
// a hook, in Go: for what Explain says of packets that nobody sends. A test
// compares the two. The packets that it decides over are IP, in no other packet.
func decide(hook bpf.Hook, source, destination bpf.Class, strict, tunnel bool) (bpf.Verdict, bpf.Reason) {
	refuse := bpf.VerdictPass
	if strict {
		refuse = bpf.VerdictDrop
	}
	switch hook {
	case bpf.HookIngress:
		fromPod := source == bpf.ClassRemotePod || source == bpf.ClassCluster
		if fromPod || source == bpf.ClassRemoteNode && destination == bpf.ClassLocalPod {
			return refuse, bpf.ReasonPlaintextIn
		}
		if source == bpf.ClassUnknownNode && destination == bpf.ClassLocalPod {
			return refuse, bpf.ReasonUnknownNode
		}
		return bpf.VerdictPass, bpf.ReasonNotPodTraffic
	case bpf.HookTunnelIngress:
		if destination == bpf.ClassLocalPod || destination == bpf.ClassLocalNode {
			return bpf.VerdictPass, bpf.ReasonToLocal
		}
		return bpf.VerdictDrop, bpf.ReasonMisrouted
	case bpf.HookTunnelEgress:
		verdict, reason := decideOut(source, destination, bpf.VerdictDrop)
		if verdict == bpf.VerdictPass {
			return bpf.VerdictDrop, bpf.ReasonNotForTunnel
		}
		return verdict, reason
	}
	verdict, reason := decideOut(source, destination, refuse)
	if verdict == bpf.VerdictEncrypt && !tunnel {
		return bpf.VerdictDrop, bpf.ReasonNoTunnel
	}
	return verdict, reason
}

func decideOut(source, destination bpf.Class, refuse bpf.Verdict) (bpf.Verdict, bpf.Reason) {
	switch destination {
	case bpf.ClassRemotePod:
		if source == bpf.ClassLocalPod || source == bpf.ClassLocalNode {
			return bpf.VerdictEncrypt, bpf.ReasonToRemotePod
		}
		return refuse, bpf.ReasonForeignSource
	case bpf.ClassRemoteNode:
		if source == bpf.ClassLocalPod {
			return bpf.VerdictEncrypt, bpf.ReasonToRemoteNode
		}
	case bpf.ClassUnknownNode:
		if source == bpf.ClassLocalPod {
			return refuse, bpf.ReasonUnknownNode
		}
	case bpf.ClassCluster:
		return refuse, bpf.ReasonUnknownPeer
	case bpf.ClassLocalPod:
		return refuse, bpf.ReasonMisrouted
	}
	return bpf.VerdictPass, bpf.ReasonNotPodTraffic
}
