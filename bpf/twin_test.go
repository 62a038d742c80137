package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/wgsteer/wgsteer/bpf"
)

// The egress table of the design, spelt out: a row for each destination, a
// column for each source, in the order none, local pod, local node, remote pod,
// remote node, cluster, unknown node.
//
//	.  pass, not_pod_traffic        P  encrypt, to_remote_pod
//	N  encrypt, to_remote_node      F  refuse, foreign_source
//	U  refuse, unknown_peer         M  refuse, misrouted
//	S  refuse, unknown_node
const egressTable = `
	none         . . . . . . .
	local_pod    M M M M M M M
	local_node   . . . . . . .
	remote_pod   F P P F F F F
	remote_node  . N . . . . .
	cluster      U U U U U U U
	unknown_node . S . . . . .`

// The ingress table, in the same form; I  refuse, plaintext_in.
const ingressTable = `
	none         . . . I . I .
	local_pod    . . . I I I S
	local_node   . . . I . I .
	remote_pod   . . . I . I .
	remote_node  . . . I . I .
	cluster      . . . I . I .
	unknown_node . . . I . I .`

// cell is one entry of a table.
func cell(table string, source, destination bpf.Class) string {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) == 8 && fields[0] == destination.String() {
			return fields[1+source]
		}
	}
	panic("no row for " + destination.String())
}

// result is all that a program does with one packet.
type result struct {
	outcome  bpf.Outcome
	action   int
	tx, rx   uint32 // the peer it is counted for, 0: none
	untagged bool   // VLAN tags came off
	silent   bool   // it is left to the program behind, or was counted by the one ahead
	out      []byte // what the frame becomes, on the tunnel device
}

// twin is what program has to do with a frame, in plain Go: longest prefix by
// trying all, decisions by looking them up in the tables above.
// mtu is that of the device on which a program of the tunnel device is.
func twin(program string, frame []byte, p policy, members []member, mtu int) result {
	var outer seen
	if strings.HasSuffix(program, "_l2") {
		outer = seeFrame(frame)
	} else {
		// BPF_PROG_TEST_RUN has an Ethernet header also for the programs that expect
		// none; their network header is behind it, their protocol its EtherType.
		outer = seeIP(binary.BigEndian.Uint16(frame[12:]), frame[14:])
	}
	from, to := twinLookup(outer.source, members), twinLookup(outer.destination, members)
	var r result
	switch {
	case program == bpf.SteerProgTunnelEgress:
		return twinTunnelEgress(frame, outer, from, to, mtu)
	case strings.HasSuffix(program, "tunnel_ingress"):
		r = twinTunnelIngress(frame, outer, from, to, mtu)
	default:
		table, hook := egressTable, bpf.HookEgress
		if strings.Contains(program, "ingress") {
			table, hook = ingressTable, bpf.HookIngress
		}
		r = twinTable(table, from.class, to.class, outer.parsed, p)
		if r.outcome.Reason == bpf.ReasonNotPodTraffic {
			r = twinInside(table, outer, p, members)
		}
		r.outcome.Hook = hook
	}
	switch encrypts := r.action == redirect; {
	case strings.HasPrefix(program, "steer_"):
		r.untagged, r.silent = encrypts, !encrypts
		if r.silent {
			r.action = next
		}
	case encrypts: // and nobody has
		r.outcome.Verdict, r.outcome.Reason, r.action = bpf.VerdictDrop, bpf.ReasonNotSteered, shot
	}
	if strings.HasPrefix(program, "backstop_") {
		r.out = nil
		if r.action != shot {
			r.rx, r.silent = 0, true
		}
	}
	return r
}

// twinInside is the result for a packet that passes but for what it may carry.
func twinInside(table string, outer seen, p policy, members []member) result {
	inner := outer.inside()
	if inner.parsed == "not ip" {
		return twinTable(table, bpf.ClassNone, bpf.ClassNone, "ip", p)
	}
	from, to := twinLookup(inner.source, members), twinLookup(inner.destination, members)
	r := twinTable(table, from.class, to.class, inner.parsed, policy{strict: p.strict, tunnel: true})
	if inner.parsed == "malformed" || r.outcome.Reason == bpf.ReasonNotPodTraffic {
		return r
	}
	r.outcome.Reason = bpf.ReasonEncapsulatedPlaintext
	r.outcome.Verdict, r.action = bpf.VerdictPass, next
	if p.strict {
		r.outcome.Verdict, r.action = bpf.VerdictDrop, shot
	}
	return r
}

func twinTable(table string, source, destination bpf.Class, parsed string, p policy) result {
	refuse, action := bpf.VerdictPass, next
	if p.strict {
		refuse, action = bpf.VerdictDrop, shot
	}
	outcome := func(v bpf.Verdict, r bpf.Reason) bpf.Outcome {
		return bpf.Outcome{Hook: bpf.HookEgress, Verdict: v, Reason: r}
	}
	switch parsed {
	case "not ip":
		return result{outcome: outcome(bpf.VerdictPass, bpf.ReasonNotIP), action: next}
	case "malformed":
		return result{outcome: outcome(refuse, bpf.ReasonMalformed), action: action}
	}
	letter := cell(table, source, destination)
	if !p.tunnel && (letter == "P" || letter == "N") {
		return result{outcome: outcome(bpf.VerdictDrop, bpf.ReasonNoTunnel), action: shot}
	}
	return map[string]result{
		".": {outcome: outcome(bpf.VerdictPass, bpf.ReasonNotPodTraffic), action: next},
		"P": {outcome: outcome(bpf.VerdictEncrypt, bpf.ReasonToRemotePod), action: redirect},
		"N": {outcome: outcome(bpf.VerdictEncrypt, bpf.ReasonToRemoteNode), action: redirect},
		"F": {outcome: outcome(refuse, bpf.ReasonForeignSource), action: action},
		"U": {outcome: outcome(refuse, bpf.ReasonUnknownPeer), action: action},
		"M": {outcome: outcome(refuse, bpf.ReasonMisrouted), action: action},
		"I": {outcome: outcome(refuse, bpf.ReasonPlaintextIn), action: action},
		"S": {outcome: outcome(refuse, bpf.ReasonUnknownNode), action: action},
	}[letter]
}

func twinTunnelEgress(frame []byte, outer seen, from, to member, mtu int) result {
	r := twinTable(egressTable, from.class, to.class, outer.parsed, policy{strict: true, tunnel: true})
	r.outcome.Hook, r.out = bpf.HookTunnelEgress, frame
	switch r.outcome.Verdict {
	case bpf.VerdictEncrypt:
		if long, ok := twinTooLong(frame, outer, mtu); ok {
			return long
		}
		r.action, r.tx, r.out = next, to.peer, twinClamped(frame, outer, mtu)
	case bpf.VerdictPass:
		r.outcome.Verdict, r.action = bpf.VerdictDrop, shot
		if r.outcome.Reason == bpf.ReasonNotPodTraffic {
			r.outcome.Reason = bpf.ReasonNotForTunnel
		}
	}
	return r
}

func twinTunnelIngress(frame []byte, outer seen, from, to member, mtu int) result {
	drop := func(r bpf.Reason) result {
		return result{outcome: bpf.Outcome{Hook: bpf.HookTunnelIngress, Verdict: bpf.VerdictDrop, Reason: r}, action: shot, out: frame}
	}
	switch {
	case outer.parsed == "not ip":
		return drop(bpf.ReasonNotIP)
	case outer.parsed == "malformed":
		return drop(bpf.ReasonMalformed)
	case to.class != bpf.ClassLocalPod && to.class != bpf.ClassLocalNode:
		return drop(bpf.ReasonMisrouted)
	}
	pass := bpf.Outcome{Hook: bpf.HookTunnelIngress, Verdict: bpf.VerdictPass, Reason: bpf.ReasonToLocal}
	return result{outcome: pass, action: next, rx: from.peer, out: twinClamped(frame, outer, mtu)}
}

func twinLookup(addr netip.Addr, members []member) member {
	best := member{class: bpf.ClassNone}
	for _, m := range members {
		if m.prefix.Contains(addr) && (!best.prefix.IsValid() || m.prefix.Bits() > best.prefix.Bits()) {
			best = m
		}
	}
	return best
}
