package steering

import "net/netip"

// Explanation says what becomes of a packet from one address to another at this
// node, by the pinned maps, the attached programs and the routes as they are.
type Explanation struct {
	Source      End    `json:"source"`
	Destination End    `json:"destination"`
	Strict      bool   `json:"strict"`
	Direction   string `json:"direction"` // "out", "in" or "here"
	// Verdict and Reason are the last step's, or where no program sees the packet
	// "pass" or "drop" and "no_route", "local" or "unguarded". Why says it in words.
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	Why     string `json:"why"`
	// Plaintext: it crosses the wire as it is, although the class table would
	// encrypt or refuse it.
	Plaintext bool `json:"plaintext"`

	Route Route `json:"route"` // to the destination
	// Device is by which the packet leaves, or enters the tunnel; MTU is its.
	Device string  `json:"device,omitempty"`
	MTU    int     `json:"mtu,omitempty"`    // bytes
	Longer string  `json:"longer,omitempty"` // what becomes of longer packets, of encrypted ones
	Peer   string  `json:"peer,omitempty"`   // the node on the other end
	Steps  []Step  `json:"steps"`            // the programs that it meets, in order
	Layers []Layer `json:"layers"`           // what keeps it from leaving in plaintext
	// Notes say what cannot be seen from here.
	Notes []string `json:"notes,omitempty"`
}

// End is one of the two addresses.
type End struct {
	Address netip.Addr   `json:"address"`
	Class   string       `json:"class"`
	Meaning string       `json:"meaning"`         // of the class
	Prefix  netip.Prefix `json:"prefix,omitzero"` // that gives the class
	Peer    string       `json:"peer,omitempty"`  // whose it is
}

// Route is the kernel's answer to where a packet goes.
type Route struct {
	Type    string       `json:"type"` // "unicast", "local", "unreachable", "none", ...
	Match   netip.Prefix `json:"match,omitzero"`
	Device  string       `json:"device,omitempty"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
	Ours    bool         `json:"ours"` // it is one that steering made
}

// Step is one program that a packet meets.
type Step struct {
	Hook    string `json:"hook"`
	Device  string `json:"device"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	Meaning string `json:"meaning"` // of the reason
}

// Layer is one of the things that stand without each other between a packet
// that is to be encrypted, or refused, and the wire.
type Layer struct {
	Name   string `json:"name"`
	There  bool   `json:"there"`
	Detail string `json:"detail"`
}
