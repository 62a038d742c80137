package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/wgkey"
)

// labReport is what `lab run` found. Its JSON form is documented: fields may be
// added, never renamed.
type labReport struct {
	OK bool `json:"ok"`
	// Failures say in words why OK is false.
	Failures []string  `json:"failures,omitempty"`
	Nodes    []labNode `json:"nodes"`
	Flows    []labFlow `json:"flows"`
	Wire     labWire   `json:"wire"`
	// Steps are what the run went through, in order, and how long each took.
	Steps []labStep `json:"steps"`
	// Pods is the number of pods a node.
	Pods int `json:"podsPerNode"`
	// CNI is the kind of network that carries pods, as --cni names it.
	CNI string `json:"cni"`
	// MTU of the network between the nodes, in bytes.
	MTU int `json:"mtu"`
	// Logs is the directory of the daemons' logs, where they were kept.
	Logs string `json:"logs,omitempty"`
	// Kept describes the lab if it was left running.
	Kept *labStatus `json:"kept,omitempty"`
}

// labNode is a node of the lab, as its own daemon describes it.
type labNode struct {
	Name      string          `json:"name"`
	Backend   string          `json:"backend"`
	PublicKey wgkey.PublicKey `json:"publicKey"`
	// Interface is the tunnel device, in the node's network namespace.
	Interface string `json:"interface"`
}

// labFlow is one conversation between two pods of different nodes.
type labFlow struct {
	From     string `json:"from"` // node/pod
	To       string `json:"to"`
	Protocol string `json:"protocol"` // "tcp", "udp" or "icmp"
	Family   int    `json:"family"`   // 4 or 6
	OK       bool   `json:"ok"`
	// RTTMs is how long a round trip takes, in milliseconds: the median of
	// several, or of TCP the handshake.
	RTTMs float64 `json:"rttMs"`
	// Bytes of payload that came through and back unchanged.
	Bytes uint64 `json:"bytes"`
	// Resent counts UDP and ICMP requests that had to be sent again.
	Resent int    `json:"resent,omitempty"`
	Error  string `json:"error,omitempty"`
}

// labWire is what the captures on the underlay saw. The control ran over the
// same flows with the data plane off: were it blind, the run would prove nothing.
type labWire struct {
	WireGuardPackets    uint64 `json:"wireguardPackets"`
	PlaintextPodPackets uint64 `json:"plaintextPodPackets"`
	// LostPackets are those that the capture itself had no room for.
	LostPackets uint64 `json:"lostPackets"`
	// MalformedPackets claim to be IP but are not, and may be anything.
	MalformedPackets uint64 `json:"malformedPackets"`
	// Plaintext describes the first few packets of PlaintextPodPackets.
	Plaintext []string `json:"plaintext,omitempty"`

	ControlWireGuardPackets    uint64 `json:"controlWireguardPackets"`
	ControlPlaintextPodPackets uint64 `json:"controlPlaintextPodPackets"`
	ControlLostPackets         uint64 `json:"controlLostPackets"`
}

// labStep is a finished step of a run.
type labStep struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// judgeLab returns the reasons for which the observations of a run prove
// nothing, or prove that it went wrong; none means ok. Each is enough alone.
// It expects every one of wantFlows to have been tried.
func judgeLab(r labReport, wantFlows int) []string {
	var why []string
	fail := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }

	if bad := len(failedLabFlows(r.Flows)); bad > 0 {
		fail("%d of %d flows failed", bad, len(r.Flows))
	}
	if len(r.Flows) != wantFlows || wantFlows == 0 {
		fail("%d flows were tried instead of %d", len(r.Flows), wantFlows)
	}
	if n := r.Wire.PlaintextPodPackets; n > 0 {
		fail("%s crossed the wire in plaintext", count(n, "pod packet"))
	}
	if r.Wire.WireGuardPackets == 0 {
		fail("no WireGuard packet crossed the wire")
	}
	if n := r.Wire.LostPackets; n > 0 {
		fail("the capture lost %s, so it may have missed plaintext", count(n, "packet"))
	}
	if n := r.Wire.MalformedPackets; n > 0 {
		fail("%s could not be parsed, and may be anything", count(n, "packet"))
	}
	if r.Wire.ControlPlaintextPodPackets == 0 {
		fail("the control saw no plaintext with the data plane off, so the capture proves nothing")
	}
	return why
}

// failedLabFlows are the flows that are not ok, in order.
func failedLabFlows(flows []labFlow) []labFlow {
	return slices.DeleteFunc(slices.Clone(flows), func(f labFlow) bool { return f.OK })
}

// labWireOf puts together what the two captures saw.
func labWireOf(control, wire netlab.Wire) labWire {
	return labWire{
		WireGuardPackets:           wire.WireGuard.Frames,
		PlaintextPodPackets:        plaintextFrames(wire),
		LostPackets:                wire.Lost,
		MalformedPackets:           wire.Malformed.Frames,
		Plaintext:                  wire.Plaintext,
		ControlWireGuardPackets:    control.WireGuard.Frames,
		ControlPlaintextPodPackets: plaintextFrames(control),
		ControlLostPackets:         control.Lost,
	}
}

// plaintextFrames counts what can be read of pods, whoever they talk to.
func plaintextFrames(w netlab.Wire) uint64 { return w.PlaintextPod.Frames + w.PlaintextPodNode.Frames }

// took is the time of all steps.
func (r labReport) took() time.Duration {
	var s float64
	for _, step := range r.Steps {
		s += step.Seconds
	}
	return time.Duration(s * float64(time.Second))
}

// count is "1 packet", "2 packets".
func count[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
