package steering

import (
	"fmt"
	"slices"
	"strings"
)

// maxPodDevices is how many patterns one rule of the nftables table takes with room
// to spare: two expressions each, of 128 (NFT_RULE_MAXEXPRS in include/net/netfilter/nf_tables.h).
const maxPodDevices = 32

// CheckPodDevices says what is wrong with patterns for State.PodDevices; nil when
// nothing is.
func CheckPodDevices(patterns []string) error {
	if len(patterns) > maxPodDevices {
		return fmt.Errorf("there are %d, want at most %d: a * at the end stands for many", len(patterns), maxPodDevices)
	}
	for _, p := range patterns {
		name, open := strings.CutSuffix(p, "*")
		switch {
		case p == "*":
			return fmt.Errorf("%q is every device: leave it out, for that is the default", p)
		case strings.Contains(name, "*"):
			return fmt.Errorf("%q: a * stands at the end, and once", p)
		case name == "" || len(p) > 15: // with the *, which nft(8) does not take as a 16th either
			return fmt.Errorf("%q: the name of a network device has 1 to 15 bytes, a * with them", p)
		case !open && (name == "." || name == "..") || strings.ContainsAny(name, "/: \t\n\v\f\r\x00"):
			return fmt.Errorf("%q: the name of a network device holds no slash, colon or white space", p)
		}
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
