package steering

import "time"

// Plaintext is what passed in plaintext because the policy is permissive; it
// tells when it is safe to switch to strict.
type Plaintext struct {
	// Packets were counted since the pins were made.
	Packets uint64 `json:"packets"`
	// Since is a time from which on there was none. It is not before the policy
	// became permissive or this process began to look. Zero: the policy is strict.
	Since time.Time `json:"since,omitzero"`
}

// next is p after a look at the counters.
func (p Plaintext) next(strict bool, verdicts []Verdict, now time.Time) Plaintext {
	var packets uint64
	for _, v := range verdicts {
		if v.WouldDrop {
			packets += v.Packets
		}
	}
	switch {
	case strict:
		return Plaintext{Packets: packets}
	case p.Since.IsZero(), packets != p.Packets:
		return Plaintext{Packets: packets, Since: now}
	}
	return p
}
