package keymgr

import (
	"context"
	"net/netip"
	"time"

	"github.com/wgsteer/wgsteer/wgkey"
)

// Node is what one node tells the others.
type Node struct {
	Name      string
	PublicKey wgkey.PublicKey
	// Endpoint is where the node's tunnel listens; zero when it can only be
	// heard from.
	Endpoint netip.AddrPort
	// NodeIPs are the node's own addresses: traffic between them and pods goes
	// through the tunnel.
	NodeIPs []netip.Addr
	// PodCIDRs are the prefixes of the node's pods, masked.
	PodCIDRs []netip.Prefix
	// PersistentKeepalive that the node asks its peers to use towards it; zero
	// leaves it to each peer's own configuration.
	PersistentKeepalive time.Duration
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
}

// Source delivers everyone's records. It is level-triggered: always the whole
// snapshot, never a change.
type Source interface {
	// Run calls deliver at once and after each change, never concurrently, until
	// ctx ends, and returns nil then. What it hands over is the receiver's to
	// keep: the source never changes it afterwards.
	Run(ctx context.Context, deliver func(Snapshot)) error
	// Publish writes this node's own record. It may be called before and beside
	// Run; publishing what is there already changes nothing.
	Publish(ctx context.Context, self Node) error
}
