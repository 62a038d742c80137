package bpf

// WouldDrop says whether o is that of a packet which passes only because the
// policy is permissive: strict drops it.
func (o Outcome) WouldDrop() bool {
	if o.Verdict != VerdictPass {
		return false
	}
	switch o.Reason {
	case ReasonMalformed, ReasonForeignSource, ReasonUnknownPeer, ReasonMisrouted,
		ReasonPlaintextIn, ReasonEncapsulatedPlaintext, ReasonUnknownNode:
		return true
	}
	return false
}
