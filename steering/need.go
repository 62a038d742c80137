package steering

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/wgsteer/wgsteer/bpf"
)

// byNeed sorts prefixes by what would become of their packets without an entry: a
// node's address would be the world's, and pass in plaintext; a pod would count as the
// cluster's, and be dropped. So the cluster's and the nodes' CIDRs come first, then
// nodes' addresses, then pods, the wide before the narrow, and those that have an entry
// before those that come.
func byNeed(prefixes, have map[bpf.SteerPrefixKey]bpf.SteerPrefix) []bpf.SteerPrefixKey {
	rank := func(k bpf.SteerPrefixKey) int {
		switch bpf.Class(prefixes[k].Class) {
		case bpf.ClassLocalPod, bpf.ClassRemotePod:
			return 2
		case bpf.ClassLocalNode, bpf.ClassRemoteNode:
			return 1
		}
		return 0
	}
	comes := func(k bpf.SteerPrefixKey) int {
		if _, there := have[k]; there {
			return 0
		}
		return 1
	}
	return slices.SortedFunc(maps.Keys(prefixes), func(a, b bpf.SteerPrefixKey) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Prefixlen, b.Prefixlen),
			cmp.Compare(comes(a), comes(b)), bytes.Compare(a.Addr[:], b.Addr[:]))
	})
}

// spare is an entry that stays free: kernels before Linux 6.13 refuse to change one of a
// trie whose entries are all taken (ENOSPC), but for the stable ones that have "bpf: Handle
// in-place update for full LPM trie correctly" of December 2024.
const spare = 1

// fit leaves out those prefixes, needed least, that a map of so many entries, which has
// these now, has no room for, and returns them. So at the end there is room for what
// comes and for changes, if what goes is deleted before.
func (c contents) fit(entries int, have map[bpf.SteerPrefixKey]bpf.SteerPrefix) []bpf.SteerPrefixKey {
	room := max(entries-spare, 0)
	if len(c.prefixes) <= room {
		return nil
	}
	left := byNeed(c.prefixes, have)[room:]
	for _, k := range left {
		delete(c.prefixes, k)
	}
	return left
}

// keep adds what have has beyond c.
func (c contents) keep(have map[bpf.SteerPrefixKey]bpf.SteerPrefix) {
	for k, v := range have {
		if _, wanted := c.prefixes[k]; !wanted {
			c.prefixes[k] = v
		}
	}
}
