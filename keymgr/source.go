package keymgr

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/wgsteer/wgsteer/wgkey"
)

// Node is what one node tells the others.
type Node struct {
	Name      string          `json:"name"`
	PublicKey wgkey.PublicKey `json:"publicKey"`
	// Endpoint is where the node's tunnel listens; zero when it can only be
	// heard from.
	Endpoint netip.AddrPort `json:"endpoint"`
	// NodeIPs are the node's own addresses: traffic between them and pods goes
	// through the tunnel.
	NodeIPs []netip.Addr `json:"nodeIPs,omitempty"`
	// PodCIDRs are the prefixes of the node's pods, masked.
	PodCIDRs []netip.Prefix `json:"podCIDRs,omitempty"`
	// PersistentKeepalive that the node asks its peers to use towards it; zero
	// leaves it to each peer's own configuration.
	PersistentKeepalive time.Duration `json:"persistentKeepaliveNanoseconds,omitempty"`
	// Backend is what runs the node's tunnel, for people; empty: it does not say.
	Backend string `json:"backend,omitempty"`
	// BackendReason is why that was chosen, one line of at most MaxReason bytes.
	BackendReason string `json:"backendReason,omitempty"`
	// Record is where the source found this, as the user would find it: a file
	// or an object. It is for messages, and no part of what is published.
	Record string `json:"record,omitempty"`
}

// MaxReason is the longest Node.BackendReason, in bytes.
const MaxReason = 512

// Equal reports whether n and o tell the same; where they were found does not
// count.
func (n Node) Equal(o Node) bool {
	return n.Name == o.Name && n.PublicKey == o.PublicKey && n.Endpoint == o.Endpoint &&
		n.PersistentKeepalive == o.PersistentKeepalive && n.Backend == o.Backend && n.BackendReason == o.BackendReason &&
		slices.Equal(n.NodeIPs, o.NodeIPs) && slices.Equal(n.PodCIDRs, o.PodCIDRs)
}

// Clone returns a copy that shares no memory with n.
func (n Node) Clone() Node {
	n.NodeIPs = slices.Clone(n.NodeIPs)
	n.PodCIDRs = slices.Clone(n.PodCIDRs)
	return n
}

// Problem is something wrong with a record, told to people: it names the
// record and what to do, and it does not stop the others from working.
type Problem struct {
	Node    string `json:"node"`   // the node concerned, "" when unknown
	Record  string `json:"record"` // the file or object, as the user would find it
	Message string `json:"message"`
	// Warning marks what is odd but did not make the record unusable.
	Warning bool `json:"warning,omitempty"`
}

// Snapshot is all that a source knows at one moment.
type Snapshot struct {
	// Nodes sorted by name, this node's own record included if it is there. A
	// record that turned bad stays in as it last was, and is in Problems.
	Nodes    []Node
	Problems []Problem
	// Unusable are the names, sorted, of nodes whose record is there but has
	// been bad for as long as the source runs. Claims knows what they last were.
	Unusable []string
	// Partial is set while the source cannot list the records: a node that is
	// not in Nodes may have one all the same.
	Partial bool
	// Local is what the source knows of this node itself; nil: nothing. Where the
	// snapshot is Partial as well, what was known before then holds.
	Local *Local
}

// Local is what a source knows of this node itself that its configuration does
// not say. It is no record: the node's own one, if there is one, is in Nodes.
type Local struct {
	// PodCIDRs are the prefixes of this node's pods, masked and sorted. They hold
	// where none are configured; empty: the node has no pods.
	PodCIDRs []netip.Prefix
}

// Equal reports whether l and o tell the same.
func (l *Local) Equal(o *Local) bool {
	if l == nil || o == nil {
		return l == o
	}
	return slices.Equal(l.PodCIDRs, o.PodCIDRs)
}

// Source delivers everyone's records. It is level-triggered: always the whole
// snapshot, never a change.
type Source interface {
	// Run calls deliver at once and after each change, never concurrently, until
	// ctx ends, and returns nil then. What it hands over is the receiver's to
	// keep: the source never changes it afterwards.
	Run(ctx context.Context, deliver func(Snapshot)) error
	// Publish writes this node's own record, or leaves it to Run: nil then means
	// that Run writes it as soon as it can, and that what keeps it from that is in
	// the snapshots' Problems. It does not wait for Run. It may be called before
	// and beside Run, and while the snapshot is Partial: a source whose record may
	// not be written then refuses. Of two calls the last one counts; publishing
	// what is there already changes nothing.
	Publish(ctx context.Context, self Node) error
}
