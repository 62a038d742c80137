package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// MaxPodDevices is how many patterns one rule of the nftables table takes with room
// to spare: two expressions each, of 128 (NFT_RULE_MAXEXPRS in include/net/netfilter/nf_tables.h).
const MaxPodDevices = 32

// CheckPodDevice says what is wrong with a pattern of State.PodDevices; nil when
// nothing is.
func CheckPodDevice(pattern string) error {
	name, open := strings.CutSuffix(pattern, "*")
	switch {
	case pattern == "*":
		return errors.New("every device fits; leave it out, for that is the default")
	case strings.Contains(name, "*"):
		return errors.New("a * stands at the end, and once")
	case name == "" || len(pattern) > 15: // with the *, which nft(8) does not take as a 16th either
		return errors.New("the name of a network device has 1 to 15 bytes, a * with them")
	case !open && (name == "." || name == "..") || strings.ContainsAny(name, "/: \t\n\v\f\r\x00"):
		return errors.New("the name of a network device holds no slash, colon or white space")
	}
	return nil
}

// podDevices are those behind which this node's pods are: patterns of their names,
// sorted. What comes out of the tunnel for a pod leaves by no other; without patterns
// by any.
type podDevices struct {
	tunnel   string // the tunnel device's name
	patterns []string
}

func podDevicesOf(tunnel string, patterns []string) podDevices {
	return podDevices{tunnel, slices.Compact(slices.Sorted(slices.Values(patterns)))}
}

// fits says whether a device's name is one of those that a pattern stands for.
func fits(pattern, name string) bool {
	if start, open := strings.CutSuffix(pattern, "*"); open {
		return strings.HasPrefix(name, start)
	}
	return pattern == name
}

// refuse says whether what is decrypted for a pod may not leave by a device.
func (p podDevices) refuse(device string) bool {
	return len(p.patterns) > 0 && !slices.ContainsFunc(p.patterns, func(pattern string) bool { return fits(pattern, device) })
}

// others match what came out of the tunnel for a pod here, of a family, and leaves by
// none of the devices.
func (p podDevices) others(family string) []nftMatch {
	match := []nftMatch{{nftCameBy, p.tunnel}}
	for _, pattern := range p.patterns {
		match = append(match, nftMatch{nftNotBy, pattern})
	}
	return append(match, nftMatch{nftDestination, nftLocalPods + family})
}

// podDevicesFinding is the name of what is found of them.
const podDevicesFinding = "pod-devices"

// judgePodDevicesInForce compares those that the table has with those that it should.
func judgePodDevicesInForce(have, want podDevices) []Finding {
	if slices.Equal(have.patterns, want.patterns) {
		return nil
	}
	return []Finding{{
		Name: podDevicesFinding, Level: Fail,
		Detail: fmt.Sprintf("podDevices in force: %v; the configuration says: %v", have, want),
		Mend:   "reload or start wgsteer, or have `wgsteer guard` do it without it",
	}}
}

// String is for people.
func (p podDevices) String() string {
	if len(p.patterns) == 0 {
		return "none"
	}
	return strings.Join(p.patterns, ", ")
}

// judge says what is wrong, by the devices there are, those that are steered, and those
// that routes to this node's pods lead to.
func (p podDevices) judge(net network, sel selection, ways map[int]netip.Prefix, strict bool) []Finding {
	var found []Finding
	tell := func(level Level, mend, detail string, args ...any) {
		found = append(found, Finding{Name: podDevicesFinding, Level: level, Detail: fmt.Sprintf(detail, args...), Mend: mend})
	}
	steered := map[int]bool{}
	for _, t := range sel.targets {
		steered[t.Index] = true
		if !p.refuse(t.Name) {
			tell(Warn, "choose narrower names", "podDevices (%v) fit %s, which leads to other nodes: %s; it keeps its programs, and they let nothing for pods out", p, t.Name, t.Reason)
		}
	}
	for _, pattern := range p.patterns {
		if !slices.ContainsFunc(net.devices, func(d device) bool { return fits(pattern, d.name) }) {
			tell(Warn, "see what there is: ip -brief link; no pod may be running yet", "podDevices name %s, which no device fits", pattern)
		}
	}
	does, level := "is dropped", Fail
	if !strict {
		does, level = "would be dropped by strict", Warn
	}
	for _, d := range net.devices {
		to, leads := ways[d.index]
		if !leads || steered[d.index] || d.loopback || d.name == p.tunnel || !p.refuse(d.name) {
			continue
		}
		tell(level, "if pods are behind it, name it in podDevices; else remove the route", "a route has pods here (%v) behind %s, which is none of podDevices (%v): what is decrypted for them %s", to, d.name, p, does)
	}
	return found
}
