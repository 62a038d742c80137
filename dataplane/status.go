package dataplane

import (
	"net/netip"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// State is how far a data plane has come.
type State string

// The states, in the order in which Run goes through them.
const (
	Stopped    State = "stopped"    // Run was not called, or has returned
	Checking   State = "checking"   // facts, key, bpffs
	Guarding   State = "guarding"   // what must not leave in plaintext is dropped
	Tunnelling State = "tunnelling" // the tunnel device comes up
	Steering   State = "steering"   // waiting for, then applying, the first snapshot
	Ready      State = "ready"
	Degraded   State = "degraded" // ready, but a part is failing: see Reasons
)

// Status is a data plane at one moment.
type Status struct {
	State State     `json:"state"`
	Since time.Time `json:"since"` // when State was entered
	// Ready is true when this node's pods and its peers' can talk: in states
	// ready and degraded.
	Ready bool `json:"ready"`
	// Reasons say why it is not ready, or what is failing and how to mend it.
	Reasons []string `json:"reasons,omitempty"`

	Node       string          `json:"node"`
	Interface  string          `json:"interface"`
	PublicKey  wgkey.PublicKey `json:"publicKey"`
	ListenPort uint16          `json:"listenPort"`
	Endpoint   netip.AddrPort  `json:"endpoint"`
	MTU        int             `json:"mtu"` // of the tunnel device, in bytes
	MTUSource  MTUSource       `json:"mtuSource"`
	Policy     Policy          `json:"policy"`
	// Backend runs the tunnel, Userspace or Kernel; until it is chosen, what is
	// configured.
	Backend       Backend        `json:"backend"`
	BackendReason string         `json:"backendReason,omitempty"` // why it was chosen
	PodCIDRs      []netip.Prefix `json:"podCIDRs"`
	NodeIPs       []netip.Addr   `json:"nodeIPs"`

	// Peers sorted by name.
	Peers []Peer `json:"peers"`
	// PodsOutside are other nodes, by name, that have pods which clusterCIDRs do not
	// hold: those are no pods to the guard, and talk in plaintext.
	PodsOutside []string `json:"podsOutside,omitempty"`
	// Problems with records, and between them; see keymgr.Claims.
	Problems []keymgr.Problem `json:"problems,omitempty"`
	Tunnel   tunnel.Stats     `json:"tunnel"`
	Steering steering.Status  `json:"steering"`
}

// Peer is one remote node in a Status.
type Peer struct {
	Name          string          `json:"name"`
	PublicKey     wgkey.PublicKey `json:"publicKey"`
	Endpoint      netip.AddrPort  `json:"endpoint"` // where datagrams go now
	PodCIDRs      []netip.Prefix  `json:"podCIDRs"`
	NodeIPs       []netip.Addr    `json:"nodeIPs"`
	Backend       string          `json:"backend,omitempty"`       // as its record says; empty: it does not
	BackendReason string          `json:"backendReason,omitempty"` // why, as its record says
	LastHandshake time.Time       `json:"lastHandshake"`           // zero: none yet
	RxBytes       uint64          `json:"rxBytes"`                 // outer, as wg(8) counts
	TxBytes       uint64          `json:"txBytes"`
	// Steered counts the inner packets, by the eBPF programs.
	Steered steering.PeerCounts `json:"steered"`
}

// Rotation says how a key rotation went.
type Rotation struct {
	OldPublicKey wgkey.PublicKey `json:"oldPublicKey"`
	NewPublicKey wgkey.PublicKey `json:"newPublicKey"`
	// Peers that had a session before the rotation, and how many of them have
	// one under the new key.
	PeersBefore int `json:"peersBefore"`
	PeersAfter  int `json:"peersAfter"`
	// Interruption is the time from the moment at which the old key stopped
	// working to the last handshake of those peers under the new one: a lower
	// bound while PeersAfter is less than PeersBefore.
	Interruption time.Duration `json:"interruptionNanoseconds"`
}
