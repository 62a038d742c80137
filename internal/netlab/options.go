package netlab

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
)

// The most that names and addresses have room for.
const (
	MaxNodes = 26
	MaxPods  = 200
)

// TunnelOverhead is what a tunnel adds to a pod's packet, in bytes: 32
// WireGuard, 8 UDP, 40 IPv6.
const TunnelOverhead = 80

// MaxMTU of the underlay: of a veth, ETH_MAX_MTU.
const MaxMTU = 65535

// Options says how big a lab is, and of what kind. Its zero value is two nodes
// with a pod each, IPv4 and IPv6, on a bridge.
type Options struct {
	// Run names the lab: 1 to 8 of a-z and 0-9; default: random. Two labs of one
	// name cannot be up at once.
	Run string `json:"run"`
	// Nodes, 1 to MaxNodes; default 2.
	Nodes int `json:"nodes"`
	// Pods of each node, 1 to MaxPods; default 1.
	Pods int `json:"pods"`
	// Families are 4, 6 or both; default both.
	Families []int `json:"families"`
	// CNI is the pods' network; default Bridge.
	CNI CNI `json:"cni"`
	// Uplink is the nodes' device on the underlay; default UplinkPlain.
	Uplink Uplink `json:"uplink,omitempty"`
	// MTU of the underlay in bytes; default 1500.
	MTU int `json:"mtu"`
	// PodMTU in bytes; default: what the CNI gives on its own, who knows of no
	// tunnel: MTU, less what its overlay adds.
	PodMTU int `json:"podMTU"`
	// Reaper is a command that calls Reap with the lab's name, which is its last
	// argument, and its standard input. Empty: a lab whose owner is killed stays
	// until the next one comes up.
	Reaper []string `json:"-"`
}

var runName = regexp.MustCompile(`^[a-z0-9]{1,8}$`)

// withDefaults fills in and validates.
func (o Options) withDefaults() (Options, error) {
	if o.Run == "" {
		var b [3]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
		o.Run = hex.EncodeToString(b[:])
	}
	o.Nodes = orDefault(o.Nodes, 2)
	o.Pods = orDefault(o.Pods, 1)
	if o.CNI == "" {
		o.CNI = Bridge
	}
	if len(o.Families) == 0 {
		o.Families = []int{4, 6}
	}
	o.Families = slices.Clone(o.Families)
	slices.Sort(o.Families)
	o.MTU = orDefault(o.MTU, 1500)
	o.PodMTU = orDefault(o.PodMTU, o.MTU-o.CNI.overhead(o.Families))

	switch {
	case !runName.MatchString(o.Run):
		return o, fmt.Errorf("lab name %q: want 1 to 8 of a-z and 0-9", o.Run)
	case o.Nodes < 1 || o.Nodes > MaxNodes:
		return o, fmt.Errorf("%d nodes: want 1 to %d", o.Nodes, MaxNodes)
	case o.Pods < 1 || o.Pods > MaxPods:
		return o, fmt.Errorf("%d pods a node: want 1 to %d", o.Pods, MaxPods)
	case len(slices.Compact(slices.Clone(o.Families))) != len(o.Families):
		return o, fmt.Errorf("families %v: one occurs twice", o.Families)
	case slices.ContainsFunc(o.Families, func(f int) bool { return f != 4 && f != 6 }):
		return o, fmt.Errorf("families %v: want 4, 6 or both", o.Families)
	}
	if err := o.CNI.validate(o.Families); err != nil {
		return o, err
	}
	if o.Uplink.Device() == "" {
		return o, fmt.Errorf("uplink %q: want bridge, bond, vlan, or none of them", o.Uplink)
	}
	return o, o.validateMTU()
}

// MinMTU is the least MTU of an underlay on which tunnels carry what every pod
// of these families may send.
func MinMTU(families []int) int { return leastMTU(families) + TunnelOverhead }

// leastMTU is what every host of the families has to take.
func leastMTU(families []int) int {
	if slices.Contains(families, 6) {
		return 1280 // RFC 8200
	}
	return 576 // RFC 791
}

func (o Options) validateMTU() error {
	least, over := leastMTU(o.Families), o.CNI.overhead(o.Families)
	switch {
	case o.MTU < MinMTU(o.Families) || o.MTU > MaxMTU:
		return fmt.Errorf("MTU %d: want %d to %d, so that a tunnel can carry %d", o.MTU, MinMTU(o.Families), MaxMTU, least)
	case o.PodMTU < least || o.PodMTU > o.MTU-over:
		return fmt.Errorf("MTU %d of pods: want %d to %d; the underlay's is %d, and CNI network %s adds %d bytes to a pod's packet",
			o.PodMTU, least, o.MTU-over, o.MTU, o.CNI, over)
	}
	return nil
}

func orDefault(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}
