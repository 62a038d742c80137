package steering

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgsteer/wgsteer/bpf"
)

// nftLayout counts the changes of the table's chains, sets and rules. It is in
// the comment of each chain's rule of steered devices, for people who compare two nodes; a
// table that differs in anything is replaced, of whatever layout it is.
const nftLayout = 3

// The names of the chains, which are also the hooks that Status shows.
const (
	nftEgress  = "unsteered_egress"
	nftIngress = "unsteered_ingress"
)

// nftMisrouted is what the counters of decrypted packets that leave by no pod's device
// are called, with the verdict behind it.
const nftMisrouted = nftEgress + "_misrouted"

// The sets; those of addresses are there for each family, as <name>4 and <name>6.
const (
	nftSteered     = "steered"
	nftOtherPods   = "other_pods"   // remote_pod and cluster: merged, so that no peer changes it
	nftLocalPods   = "local_pods"   // local_pod
	nftRemoteNodes = "remote_nodes" // remote_node, but those in nftNodeCIDRs
	nftNodeCIDRs   = "node_cidrs"   // unknown_node and the remote_node within, so that these change nothing
)

// nftTable is our nftables table, as data. It keeps traffic of pods between
// nodes off the devices that the programs are not on: whichever there are, or
// will be, and whether this process lives or not.
type nftTable struct {
	strict bool
	// devices are the indexes of those that the rules leave alone.
	devices map[int]bool
	// ranges are what is in the sets of addresses, by the set's name.
	ranges map[string][]addrRange
	// pods are the devices by which what is decrypted reaches pods.
	pods podDevices
}

// nftRule is a rule: for a packet that meets all of match.
type nftRule struct {
	chain   string
	match   []nftMatch
	counter string // "": none
	verdict nftVerdict
	comment string
}

// nftMatch asks whether a property of a packet is in a set, or the name of its
// device like another.
type nftMatch struct {
	field nftField
	what  string // the set's name; of nftCameBy a device's, of nftNotBy a pattern
}

type nftField int

const (
	nftDevice nftField = iota // of the chain's direction
	nftSource
	nftDestination
	nftCameBy // the device it came by has the name
	nftNotBy  // that it leaves by has a name that does not fit
)

type nftVerdict int

const (
	nftContinue nftVerdict = iota
	nftAccept
	nftDrop
)

// nftName is the table's name for a tunnel device. What nft(8) does not take in a
// name is written as a dot and its code; a device's name has no dot (see Options).
func nftName(device string) string {
	var name strings.Builder
	name.WriteString("wgsteer-")
	for _, c := range []byte(device) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			name.WriteByte(c)
		} else {
			fmt.Fprintf(&name, ".%02x", c)
		}
	}
	return name.String()
}

// nft derives the table from the classes of prefixes, the devices that have the
// programs and those that pods are behind.
func nft(prefixes map[bpf.SteerPrefixKey]bpf.SteerPrefix, devices map[int]bool, pods podDevices, strict bool) nftTable {
	classes := make(map[netip.Prefix]bpf.Class, len(prefixes))
	for key, value := range prefixes {
		classes[key.Prefix()] = bpf.Class(value.Class)
	}
	t := nftTable{strict: strict, devices: devices, ranges: map[string][]addrRange{}, pods: pods}
	put := func(set string, ranges []addrRange) {
		for _, r := range ranges {
			name := set + family(r.from)
			t.ranges[name] = append(t.ranges[name], r)
		}
	}
	nodes := &prefixSet{}
	for p, class := range classes {
		if class == bpf.ClassUnknownNode {
			nodes.put(p, struct{}{})
		}
	}
	for p, class := range classes {
		if class != bpf.ClassRemoteNode {
			continue
		}
		delete(classes, p)
		if !nodes.holds(p) { // a single address; kept apart, each comes and goes with its peer
			put(nftRemoteNodes, []addrRange{{p.Addr(), lastOf(p)}})
		}
	}
	put(nftNodeCIDRs, rangesOf(classes, bpf.ClassUnknownNode))
	put(nftOtherPods, rangesOf(classes, bpf.ClassRemotePod, bpf.ClassCluster))
	put(nftLocalPods, rangesOf(classes, bpf.ClassLocalPod))
	return t
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// rules are the same for every node, but for the names of pods' devices. The class
// table's rows for a device without programs come down to three each way; what the
// programs would encrypt has no other way than theirs.
func (t nftTable) rules() []nftRule {
	verdict, suffix, does := nftContinue, "_pass", "permissive: counted"
	if t.strict {
		verdict, suffix, does = nftDrop, "_drop", "strict: dropped"
	}
	var rules []nftRule
	count := func(chain, counter, comment string, match ...nftMatch) {
		rules = append(rules, nftRule{chain, match, counter + suffix, verdict, comment + "; " + does})
	}
	add := func(chain, comment string, match ...nftMatch) { count(chain, chain, comment, match...) }
	if len(t.pods.patterns) > 0 { // on devices with programs as well, and on a bridge whose port has them
		for _, f := range []string{"4", "6"} {
			count(nftEgress, nftMisrouted, "out of the tunnel to a pod here, by a device that is none of podDevices", t.pods.others(f)...)
		}
	}
	for _, chain := range []string{nftEgress, nftIngress} {
		rules = append(rules, nftRule{chain, []nftMatch{{nftDevice, nftSteered}}, "", nftAccept,
			fmt.Sprintf("layout %d: the programs decide on these devices", nftLayout)})
	}
	for _, f := range []string{"4", "6"} {
		add(nftEgress, "to a pod elsewhere, past the tunnel",
			nftMatch{nftDestination, nftOtherPods + f})
		add(nftEgress, "from a pod here to another node, past the tunnel",
			nftMatch{nftSource, nftLocalPods + f}, nftMatch{nftDestination, nftRemoteNodes + f})
		add(nftEgress, "from a pod here to an address of nodes, past the tunnel",
			nftMatch{nftSource, nftLocalPods + f}, nftMatch{nftDestination, nftNodeCIDRs + f})
		add(nftIngress, "from a pod elsewhere, past the tunnel",
			nftMatch{nftSource, nftOtherPods + f})
		add(nftIngress, "from another node to a pod here, past the tunnel",
			nftMatch{nftSource, nftRemoteNodes + f}, nftMatch{nftDestination, nftLocalPods + f})
		add(nftIngress, "from an address of nodes to a pod here, past the tunnel",
			nftMatch{nftSource, nftNodeCIDRs + f}, nftMatch{nftDestination, nftLocalPods + f})
	}
	return rules
}

// nftCounters are the table's counters, in the order in which Status shows them:
// a verdict that nothing was counted for, by the counter's name.
func nftCounters() (names []string, verdicts map[string]Verdict) {
	verdicts = map[string]Verdict{}
	for _, c := range []struct {
		counter, chain string
		reason         bpf.Reason
	}{
		{nftEgress, nftEgress, bpf.ReasonNotSteered},
		{nftMisrouted, nftEgress, bpf.ReasonMisrouted},
		{nftIngress, nftIngress, bpf.ReasonPlaintextIn},
	} {
		for _, v := range []bpf.Verdict{bpf.VerdictPass, bpf.VerdictDrop} {
			name := c.counter + "_" + v.String()
			names = append(names, name)
			verdicts[name] = Verdict{Hook: c.chain, Verdict: v.String(), Reason: c.reason.String(), WouldDrop: v == bpf.VerdictPass}
		}
	}
	slices.Sort(names)
	return names, verdicts
}

// spared are the devices that the table leaves alone: those with the programs;
// what they are ports of, since netfilter calls a bridge's packets the bridge's;
// and loopback.
func (n network) spared(steered map[int]bool) map[int]bool {
	byIndex := make(map[int]device, len(n.devices))
	all := map[int]bool{}
	for _, d := range n.devices {
		byIndex[d.index] = d
		if d.loopback {
			all[d.index] = true
		}
	}
	for index := range steered {
		for index != 0 && !all[index] {
			all[index] = true
			index = byIndex[index].master
		}
	}
	return all
}
