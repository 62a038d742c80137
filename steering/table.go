package steering

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/wgsteer/wgsteer/bpf"
)

// contents is what the maps hold, or should. Peer numbers are the keys of names
// and of the per-peer counters.
type contents struct {
	prefixes map[bpf.SteerPrefixKey]bpf.SteerPrefix
	names    map[uint32]string
}

// table derives the maps' contents from a valid state; known are the peers'
// numbers so far. Of two classes for one prefix the one that knows more wins: a
// cluster CIDR yields to the pods that fill it, a node CIDR to the nodes.
func (s State) table(known map[uint32]string) contents {
	want := contents{prefixes: map[bpf.SteerPrefixKey]bpf.SteerPrefix{}}
	put := func(p netip.Prefix, class bpf.Class, peer uint32) {
		want.prefixes[bpf.Key(p)] = bpf.SteerPrefix{Class: uint32(class), Peer: peer}
	}
	for _, cidr := range s.ClusterCIDRs {
		put(cidr, bpf.ClassCluster, 0)
	}
	for _, cidr := range s.NodeCIDRs {
		put(cidr, bpf.ClassUnknownNode, 0)
	}
	names := make([]string, len(s.Peers))
	for i, p := range s.Peers {
		names[i] = p.Name
	}
	want.names = number(known, names)
	numbers := make(map[string]uint32, len(names))
	for id, name := range want.names {
		numbers[name] = id
	}
	for _, p := range s.Peers {
		for _, cidr := range p.PodCIDRs {
			put(cidr, bpf.ClassRemotePod, numbers[p.Name])
		}
		for _, addr := range p.NodeIPs {
			put(single(addr), bpf.ClassRemoteNode, numbers[p.Name])
		}
	}
	for _, cidr := range s.LocalPodCIDRs {
		put(cidr, bpf.ClassLocalPod, 0)
	}
	for _, addr := range s.LocalNodeIPs {
		put(single(addr), bpf.ClassLocalNode, 0)
	}
	return want
}

// number gives each name a number above 0: its known one, else the lowest that
// is not known. A number that becomes free is free from the next time on, so
// that nobody inherits counters.
func number(known map[uint32]string, names []string) map[uint32]string {
	numbered := make(map[uint32]string, len(names))
	have := make(map[string]bool, len(names))
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if name := known[id]; wanted[name] && !have[name] {
			numbered[id], have[name] = name, true
		}
	}
	next := uint32(1)
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if have[name] {
			continue
		}
		for known[next] != "" {
			next++
		}
		numbered[next] = name
		next++
	}
	return numbered
}

// difference is what makes have into want: put what is new or other, then
// delete. With keep nothing is deleted.
type difference[K comparable, V any] struct {
	put    map[K]V
	delete []K
}

func diff[K, V comparable](have, want map[K]V, keep bool) difference[K, V] {
	d := difference[K, V]{put: map[K]V{}}
	for k, v := range want {
		if old, ok := have[k]; !ok || old != v {
			d.put[k] = v
		}
	}
	if keep {
		return d
	}
	for k := range have {
		if _, ok := want[k]; !ok {
			d.delete = append(d.delete, k)
		}
	}
	return d
}

func (d difference[K, V]) applyPut(to map[K]V) { maps.Copy(to, d.put) }

func (d difference[K, V]) applyDelete(from map[K]V) {
	for _, k := range d.delete {
		delete(from, k)
	}
}
