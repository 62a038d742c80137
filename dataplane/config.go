package dataplane

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
)

// Policy says what happens to a packet between pods of different nodes that
// cannot be encrypted.
type Policy string

// The policies. The zero value is Strict.
const (
	Strict     Policy = "strict"     // drop and count it
	Permissive Policy = "permissive" // let it pass in plaintext and count it
)

// Backend says what runs the tunnel.
type Backend string

// The backends. The zero value is Userspace.
const (
	Userspace Backend = "userspace" // wireguard-go
	Kernel    Backend = "kernel"    // a WireGuard link of the kernel, which outlives Run
	Auto      Backend = "auto"      // the kernel where a link can be made, else userspace
)

// The defaults of Config's zero values.
const (
	DefaultInterface  = "wgsteer0"
	DefaultListenPort = 51871
	DefaultStateDir   = "/var/lib/wgsteer"
	DefaultBPFFS      = "/sys/fs/bpf/wgsteer"
)

// Config says what a data plane should be. Source and ClusterCIDRs are
// required; every other zero value means what its comment says.
type Config struct {
	// Node is this node's name; default: the host name.
	Node string
	// Interface is the name of the tunnel device, at most 15 bytes; default
	// "wgsteer0". The UAPI socket carries it, and network namespaces share that
	// socket's directory: it is unique per host.
	Interface string
	// ListenPort is the tunnel's UDP port; default 51871.
	ListenPort uint16
	// PersistentKeepalive towards peers that ask for nothing else; default off.
	PersistentKeepalive time.Duration
	// MTU of the tunnel device in bytes; default: the smallest uplink MTU - 80.
	MTU int
	// ClusterCIDRs hold the pods of all nodes. They may contain no node address
	// and no endpoint.
	ClusterCIDRs []netip.Prefix
	// PodCIDRs hold this node's pods, within ClusterCIDRs; default: what Source tells
	// of this node, if it does.
	PodCIDRs []netip.Prefix
	// NodeIPs are this node's addresses; default: those of the default routes'
	// devices.
	NodeIPs []netip.Addr
	// NodeCIDRs hold the addresses of all nodes, and neither a pod's nor anything else's
	// that pods talk to. An address in them that is neither this node's nor a peer's is
	// that of a node unknown: strict drops what pods exchange with it. Of the families
	// that they name, another address is none of a peer's, whatever its record says.
	// Default: none; such an address is the world's.
	NodeCIDRs []netip.Prefix
	// Endpoint is where peers reach this node's tunnel; default: the first of
	// NodeIPs and ListenPort.
	Endpoint netip.AddrPort
	// Policy; default Strict.
	Policy Policy
	// Backend; default Userspace.
	Backend Backend
	// Devices to steer by name; default: found by themselves and followed.
	Devices []string
	// PodDevices are the devices behind which this node's pods are, by name or by the
	// start of names and a *: "cni0", "veth*". What is decrypted for a pod leaves by no
	// other: strict drops it, permissive counts it. Default: by any that is not steered.
	PodDevices []string
	// EncapsulationPorts are the UDP ports on which pod packets inside of VXLAN and
	// Geneve are looked for; default: the usual ones.
	EncapsulationPorts steering.EncapsulationPorts
	// StateDir keeps the private key and the claims of peers; default
	// "/var/lib/wgsteer".
	StateDir string
	// BPFFS is the directory, on a mounted bpffs, that pins go under; default
	// "/sys/fs/bpf/wgsteer".
	BPFFS string
	// ForceClsact attaches by clsact even where the kernel has tcx.
	ForceClsact bool

	// Source of everyone's records. Required.
	Source keymgr.Source
	// Logger; default: slog.Default.
	Logger *slog.Logger
	// Now is the clock; default: time.Now.
	Now func() time.Time
}

// steeringOptions are those of a complete configuration.
func (c Config) steeringOptions(log *slog.Logger) steering.Options {
	return steering.Options{BPFFS: c.BPFFS, Name: c.Interface, Logger: log, ForceClsact: c.ForceClsact, Now: c.Now}
}
