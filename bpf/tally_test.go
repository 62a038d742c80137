package bpf_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/wgsteer/wgsteer/bpf"
)

// tally is what the maps count, zeros left out.
type tally struct {
	Verdicts map[bpf.Outcome]bpf.SteerCount
	Peers    map[uint32]bpf.SteerPeerCount
}

// counts reads all of verdicts, also what Outcomes cannot name, and peers.
func (s *steer) counts(t testing.TB) tally {
	t.Helper()
	total := tally{map[bpf.Outcome]bpf.SteerCount{}, map[uint32]bpf.SteerPeerCount{}}
	byIndex := map[uint32]bpf.Outcome{}
	for _, o := range bpf.Outcomes() {
		byIndex[o.Index()] = o
	}
	size, cpus := int(s.Verdicts.MaxEntries()), ebpf.MustPossibleCPU()
	keys, values := make([]uint32, size), make([]bpf.SteerCount, size*cpus)
	n, err := s.Verdicts.BatchLookup(new(ebpf.MapBatchCursor), keys, values, nil)
	if n != size || err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Fatalf("read %d of %d verdicts: %v", n, size, err)
	}
	for i, key := range keys {
		var sum bpf.SteerCount
		for _, v := range values[i*cpus : (i+1)*cpus] {
			sum.Packets += v.Packets
			sum.Bytes += v.Bytes
		}
		o, known := byIndex[key]
		if sum != (bpf.SteerCount{}) && !known {
			t.Errorf("verdicts[%d] counts %+v, but has no name", key, sum)
		}
		if sum != (bpf.SteerCount{}) {
			total.Verdicts[o] = sum
		}
	}
	for _, peer := range []uint32{2, 3} {
		var perCPU []bpf.SteerPeerCount
		if err := s.Peers.Lookup(peer, &perCPU); err != nil {
			t.Fatal(err)
		}
		for _, v := range perCPU {
			total.addPeer(peer, v)
		}
	}
	return total
}

func (t tally) addPeer(peer uint32, c bpf.SteerPeerCount) {
	if c == (bpf.SteerPeerCount{}) {
		return
	}
	sum := t.Peers[peer]
	sum.TxPackets += c.TxPackets
	sum.TxBytes += c.TxBytes
	sum.RxPackets += c.RxPackets
	sum.RxBytes += c.RxBytes
	t.Peers[peer] = sum
}

func (t tally) add(o bpf.Outcome, packets, bytes uint64) {
	sum := t.Verdicts[o]
	sum.Packets += packets
	sum.Bytes += bytes
	t.Verdicts[o] = sum
}

func (t tally) clone() tally {
	return tally{maps.Clone(t.Verdicts), maps.Clone(t.Peers)}
}
