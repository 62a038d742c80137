package tunnel

import (
	"context"
	"net/netip"
	"time"

	"github.com/wgsteer/wgsteer/wgkey"
)

// Config is everything that a tunnel should be. It is declarative: Apply makes
// the tunnel so, whatever it was before.
type Config struct {
	PrivateKey wgkey.PrivateKey
	// ListenPort is the UDP port of both families; zero lets the kernel choose.
	ListenPort uint16
	// FirewallMark is the SO_MARK of outgoing datagrams; zero is none.
	FirewallMark uint32
	// MTU of the tunnel device in bytes; zero leaves it as it is.
	MTU int
	// Peers in any order; a public key may occur once.
	Peers []Peer
}

// Peer is one remote end.
type Peer struct {
	PublicKey wgkey.PublicKey
	// PresharedKey is optional; the zero value is none.
	PresharedKey wgkey.PresharedKey
	// Endpoint is where to send until the peer is heard from elsewhere. The
	// zero value is unknown: the peer has to speak first.
	Endpoint netip.AddrPort
	// AllowedIPs are the prefixes that may be sent to, and accepted from, this
	// peer. A prefix belongs to one peer of a device.
	AllowedIPs []netip.Prefix
	// PersistentKeepalive is rounded to whole seconds; zero is off.
	PersistentKeepalive time.Duration
}

// Link is the network device of a running tunnel.
type Link struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	MTU   int    `json:"mtu"` // bytes
}

// DropReason names why a packet ended inside a tunnel; see the constants of
// the back ends. It becomes the label of a metric.
type DropReason string

// Counts are packets and bytes at one boundary of a tunnel, since its start.
type Counts struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// PeerStats is what a tunnel knows of one peer.
type PeerStats struct {
	PublicKey     wgkey.PublicKey `json:"publicKey"`
	Endpoint      netip.AddrPort  `json:"endpoint"`      // where datagrams are sent now; zero when unknown
	LastHandshake time.Time       `json:"lastHandshake"` // zero when there was none
	RxBytes       uint64          `json:"rxBytes"`       // as wg(8) counts them: outer, WireGuard headers included
	TxBytes       uint64          `json:"txBytes"`
}

// Stats is a snapshot of a running tunnel. What a back end cannot count stays zero;
// its own Stats says what that is.
type Stats struct {
	PublicKey  wgkey.PublicKey `json:"publicKey"` // of the key in use
	ListenPort uint16          `json:"listenPort"`
	Peers      []PeerStats     `json:"peers"` // sorted by public key
	// FromTUN and ToTUN count at the TUN, ToUDP and FromUDP at the sockets
	// (datagrams, handshakes included). TUN counts are of packets as the engine
	// sees them, after segmentation; see TUNReads for those as the kernel gave them.
	FromTUN Counts `json:"fromTUN"`
	ToTUN   Counts `json:"toTUN"`
	FromUDP Counts `json:"fromUDP"`
	ToUDP   Counts `json:"toUDP"`
	// TUNReads counts what the kernel handed over: GSO packets whole.
	TUNReads Counts `json:"tunReads"`
	// Drops by reason, among them what the engine lost inside: packets that went
	// in at one end and neither came out at the other nor are handshakes. That
	// one is a difference of counters and may move back by what is in flight.
	Drops map[DropReason]uint64 `json:"drops"`
	// Offloads names what was probed and is in use, such as "tun-tso4",
	// "tun-uso", "udp-gso", "udp-gro"; sorted.
	Offloads []string `json:"offloads"`
	// Failing is empty while all readers live and progress, else says which
	// does not and why.
	Failing string `json:"failing,omitempty"`
	// Note is what works, but is known to fail some day, and how to mend it.
	Note string `json:"note,omitempty"`
}

// Tunnel is a WireGuard tunnel of this host. The methods but Run may be called
// concurrently, and fail with ErrNotRunning while Run does not run.
type Tunnel interface {
	// Run opens the device and serves it until ctx ends, then lets go of it and
	// returns nil; whatever else ends it is the error. It is called once.
	// A userspace tunnel is its process's: with Run the device goes, and all
	// sessions. A kernel link stays, up, and carries packets with the keys and peers
	// of then, until the next Run of its name adopts it or someone removes it.
	Run(ctx context.Context) error
	// Ready is closed when the device exists, is up and Apply may be called.
	Ready() <-chan struct{}
	// Link names the network device.
	Link() (Link, error)
	// Apply makes the tunnel what config says by the smallest change: a session
	// that need not change is not disturbed. A peer that is new, or whose
	// endpoint is, is greeted: a handshake is started at once rather than with
	// the first packet. On error it has changed a part, and Apply may be called
	// again.
	Apply(ctx context.Context, config Config) error
	// Greet starts a handshake with each of the peers, if its endpoint is known. A
	// kernel link does so where there is no session, and sends a keepalive where
	// there is one.
	Greet(peers ...wgkey.PublicKey) error
	// Stats reads the counters.
	Stats() (Stats, error)
}
