package steering

import (
	"net/netip"
)

// State is what steering should be. It is declarative and comparable by
// content; the order of its slices has no meaning.
type State struct {
	// Strict drops what cannot be encrypted; otherwise it passes and is counted.
	Strict bool
	// Tunnel is where packets are redirected to; the zero value is "no tunnel
	// yet", the guard: what should be encrypted is dropped (and counted), and
	// what an earlier process knew of prefixes and peers is kept, since the peers
	// are not known yet: those prefixes stay drops, those counters stay.
	Tunnel Tunnel
	// LocalPodCIDRs and LocalNodeIPs are this node's own. Pod CIDRs, these and the
	// peers', lie within ClusterCIDRs.
	LocalPodCIDRs []netip.Prefix
	LocalNodeIPs  []netip.Addr
	// Peers are the nodes whose pods can be reached through the tunnel.
	Peers []Peer
	// ClusterCIDRs hold all pods of the cluster, announced or not, and no address
	// of a node: that one could not send to its peers.
	ClusterCIDRs []netip.Prefix
	// NodeCIDRs hold the addresses of nodes, known or not, and no pod. Between a pod here
	// and one of them that is neither this node's nor a peer's nothing may cross. What is
	// in none of them, and no peer's, is the world's.
	NodeCIDRs []netip.Prefix
	// Devices are the names of the devices to steer; empty: found by themselves.
	Devices []string
	// PodDevices are the names of the devices behind which this node's pods are, or the
	// start of names and a *. What comes out of the tunnel for a pod leaves by no other;
	// empty: by any that is not steered.
	PodDevices []string
	// EncapsulationPorts are where pod packets inside of others are looked for.
	EncapsulationPorts EncapsulationPorts
}

// Tunnel is the device that packets are steered into.
type Tunnel struct {
	Index int
	// Addresses are put on the device, so that rp_filter lets decrypted packets
	// pass: the node's own, as /32 and /128.
	Addresses []netip.Prefix
}

// Peer is a node on the other end of the tunnel.
type Peer struct {
	Name     string // the node's name, 1 to 255 bytes; the key of its counters
	PodCIDRs []netip.Prefix
	NodeIPs  []netip.Addr
	// Endpoint is where its tunnel listens; it tells which devices are uplinks.
	Endpoint netip.Addr
}

// Facts is what the host's network says of itself.
type Facts struct {
	// Uplinks are the devices that carry the given endpoints and the default
	// routes, or those of the named that are no overlays, sorted by name. Overlay
	// devices are steered too, but the tunnel's own packets don't take them.
	Uplinks []Device
	// DefaultAddresses are the global unicast addresses of the default routes'
	// devices, IPv4 first: a node's addresses when nobody configured them.
	DefaultAddresses []netip.Addr
}

// Device is a network device that is, or would be, steered.
type Device struct {
	Name   string `json:"name"`
	Index  int    `json:"index"`
	MTU    int    `json:"mtu"`              // bytes
	Kind   string `json:"kind,omitempty"`   // as netlink names it: veth, vxlan, device, ...
	Reason string `json:"reason,omitempty"` // why it is steered: "default route", "route to endpoint 192.0.2.2", ...
}

// Attachment says how a device is steered.
type Attachment struct {
	Device
	Mechanism string `json:"mechanism"`       // "tcx" or "clsact"
	Error     string `json:"error,omitempty"` // why it is not, "" when it is
}

// Verdict is one counted outcome of the programs.
type Verdict struct {
	Hook    string `json:"hook"`             // "egress", "ingress", "tunnel_egress", "tunnel_ingress"
	Verdict string `json:"verdict"`          // "pass", "encrypt", "drop"
	Reason  string `json:"reason,omitempty"` // the name of bpf's reason
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// WouldDrop is true of what passes only because the policy is permissive.
	WouldDrop bool `json:"wouldDrop,omitempty"`
}

// PeerCounts is what was steered to one peer (tunnel egress) and came from it
// (tunnel ingress), since the pins were made.
type PeerCounts struct {
	Name      string `json:"name"`
	TxPackets uint64 `json:"txPackets"`
	TxBytes   uint64 `json:"txBytes"`
	RxPackets uint64 `json:"rxPackets"`
	RxBytes   uint64 `json:"rxBytes"`
}

// Status is what steering is at one moment.
type Status struct {
	Devices  []Attachment `json:"devices"` // uplinks and overlay devices, sorted by name
	Tunnel   Attachment   `json:"tunnel"`
	Verdicts []Verdict    `json:"verdicts"` // those above zero, in the order of hook and reason
	Peers    []PeerCounts `json:"peers"`
	// Plaintext is what strict would have dropped of them.
	Plaintext Plaintext `json:"plaintext"`
	// Unsteerable are devices that carry pod packets past the programs
	// (macvlan, ipvlan, a bridge that holds both pods and the uplink), and why.
	Unsteerable []Device `json:"unsteerable,omitempty"`
	// Repairs are what this process has put back after something else took it away,
	// sorted by layer and name.
	Repairs []Repair `json:"repairs,omitempty"`
	// Changes counts what this process has written to the kernel: map entries,
	// attachments, routes, addresses, pins. It stands still while all is as applied.
	Changes uint64 `json:"changes"`
	// Failing is empty while all is as applied, else says what is not and why.
	Failing string `json:"failing,omitempty"`
}
