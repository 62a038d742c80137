package steering

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/bpf"
)

// readContents reads the maps back.
func (o *objects) readContents() (contents, error) {
	prefixes, err := readMap[bpf.SteerPrefixKey, bpf.SteerPrefix](o.Prefixes)
	if err != nil {
		return contents{}, err
	}
	names, err := o.readNames()
	return contents{prefixes: prefixes, names: names}, err
}

func (o *objects) readNames() (map[uint32]string, error) {
	values, err := readMap[uint32, bpf.SteerPeerName](o.PeerNames)
	names := make(map[uint32]string, len(values))
	for id, v := range values {
		names[id] = v.String()
	}
	return names, err
}

// readMap is all that m holds. Nobody else writes it meanwhile.
func readMap[K comparable, V any](m *ebpf.Map) (map[K]V, error) {
	all := map[K]V{}
	var key K
	var value V
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		all[key] = value
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("read map %v: %w", m, err)
	}
	return all, nil
}

// grow writes what is new or other; a peer's counters before the prefix that
// names it. It says how much it wrote.
func (o *objects) grow(names difference[uint32, string], prefixes difference[bpf.SteerPrefixKey, bpf.SteerPrefix]) (int, error) {
	wrote := 0
	zero, err := zeroPeer()
	if err != nil {
		return 0, err
	}
	for id, name := range names.put {
		value, err := bpf.PeerName(name)
		if err != nil {
			return wrote, err
		}
		if err := o.Peers.Put(id, zero); err != nil {
			return wrote, tooMany("peer", name, o.Peers, err)
		}
		if err := o.PeerNames.Put(id, value); err != nil {
			return wrote, tooMany("peer", name, o.PeerNames, err)
		}
		wrote++
	}
	for _, key := range byNeed(prefixes.put, nil) {
		if err := o.Prefixes.Put(key, prefixes.put[key]); err != nil {
			return wrote, tooMany("prefix", key.Prefix().String(), o.Prefixes, err)
		}
		wrote++
	}
	return wrote, nil
}

// shrink deletes prefixes first, then the peers that they named.
func (o *objects) shrink(names difference[uint32, string], prefixes difference[bpf.SteerPrefixKey, bpf.SteerPrefix]) (int, error) {
	wrote := 0
	for _, key := range prefixes.delete {
		if err := o.Prefixes.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return wrote, fmt.Errorf("delete prefix %v: %w", key.Prefix(), err)
		}
		wrote++
	}
	for _, id := range names.delete {
		for _, m := range []*ebpf.Map{o.Peers, o.PeerNames} {
			if err := m.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return wrote, fmt.Errorf("delete peer %d: %w", id, err)
			}
		}
		wrote++
	}
	return wrote, nil
}

func (o *objects) settings() (have bpf.SteerSettings, err error) {
	if err := o.Settings.Lookup(uint32(0), &have); err != nil {
		return have, fmt.Errorf("read the settings: %w", err)
	}
	return have, nil
}

// set writes the settings if they are others.
func (o *objects) set(want bpf.SteerSettings) (int, error) {
	have, err := o.settings()
	if err != nil || have == want {
		return 0, err
	}
	if err := o.Settings.Put(uint32(0), want); err != nil {
		return 0, fmt.Errorf("write the settings: %w", err)
	}
	return 1, nil
}

// zeroPeer is the value of a peer that nothing was counted for: one for each
// possible CPU.
func zeroPeer() ([]bpf.SteerPeerCount, error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("ask for the number of CPUs: %w", err)
	}
	return make([]bpf.SteerPeerCount, cpus), nil
}

// isFull tells what the kernel says of a full map: a trie the one, a hash the other.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.E2BIG) }

func tooMany(what, which string, m *ebpf.Map, err error) error {
	if isFull(err) {
		err = fmt.Errorf("it is full: %w; the cluster has to do with fewer, such as a pod CIDR for each node rather than an address for each pod", err)
	}
	return fmt.Errorf("add %s %s to a map of %d entries: %w", what, which, m.MaxEntries(), err)
}

// leftOut is an error where prefixes did not fit.
func (o *objects) leftOut(left []bpf.SteerPrefixKey) error {
	if len(left) == 0 {
		return nil
	}
	which := left[0].Prefix().String()
	if more := len(left) - 1; more > 0 {
		which += fmt.Sprintf(" and %d more", more)
	}
	return tooMany("prefix", which, o.Prefixes, unix.ENOSPC)
}

// verdicts reads the counters above zero.
func (o *objects) verdicts() ([]Verdict, error) {
	var found []Verdict
	for _, outcome := range bpf.Outcomes() {
		runtime.Gosched() // packets go first
		var perCPU []bpf.SteerCount
		if err := o.Verdicts.Lookup(outcome.Index(), &perCPU); err != nil {
			return nil, fmt.Errorf("read the counter of %v %v %v: %w", outcome.Hook, outcome.Verdict, outcome.Reason, err)
		}
		v := Verdict{Hook: outcome.Hook.String(), Verdict: outcome.Verdict.String(), Reason: outcome.Reason.String(), WouldDrop: outcome.WouldDrop()}
		for _, c := range perCPU {
			v.Packets += c.Packets
			v.Bytes += c.Bytes
		}
		if v.Packets > 0 {
			found = append(found, v)
		}
	}
	return found, nil
}

// peerCounts reads the counters of all peers.
func (o *objects) peerCounts(names map[uint32]string) ([]PeerCounts, error) {
	var found []PeerCounts
	for id, name := range names {
		var perCPU []bpf.SteerPeerCount
		if err := o.Peers.Lookup(id, &perCPU); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, fmt.Errorf("read the counters of peer %s: %w", name, err)
		}
		c := PeerCounts{Name: name}
		for _, n := range perCPU {
			c.TxPackets += n.TxPackets
			c.TxBytes += n.TxBytes
			c.RxPackets += n.RxPackets
			c.RxBytes += n.RxBytes
		}
		found = append(found, c)
	}
	return found, nil
}
