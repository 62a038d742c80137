package bpf_test

import (
	"errors"
	"maps"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// What the programs return, of linux/pkt_cls.h.
const (
	next     = -1 // TC_ACT_UNSPEC, TCX_NEXT
	shot     = 2  // TC_ACT_SHOT
	redirect = 7  // TC_ACT_REDIRECT
)

const tunnelIndex = 4711 // no device has it: a test run does not carry out redirects

// member is a prefix of the tests' cluster, and what it is.
type member struct {
	prefix netip.Prefix
	class  bpf.Class
	peer   uint32
}

// cluster has an IPv4 and an IPv6 prefix of each class, the longer inside the
// shorter as they are in life.
var cluster = []member{
	{netip.MustParsePrefix("10.244.0.0/16"), bpf.ClassCluster, 0},
	{netip.MustParsePrefix("10.244.1.0/24"), bpf.ClassLocalPod, 0},
	{netip.MustParsePrefix("10.244.2.0/24"), bpf.ClassRemotePod, 2},
	{netip.MustParsePrefix("10.244.3.0/24"), bpf.ClassRemotePod, 3},
	{netip.MustParsePrefix("192.0.2.1/32"), bpf.ClassLocalNode, 0},
	{netip.MustParsePrefix("192.0.2.2/32"), bpf.ClassRemoteNode, 2},
	{netip.MustParsePrefix("192.0.2.3/32"), bpf.ClassRemoteNode, 3},
	{netip.MustParsePrefix("fd00:244::/32"), bpf.ClassCluster, 0},
	{netip.MustParsePrefix("fd00:244:1::/48"), bpf.ClassLocalPod, 0},
	{netip.MustParsePrefix("fd00:244:2::/48"), bpf.ClassRemotePod, 2},
	{netip.MustParsePrefix("fd00:244:3::/48"), bpf.ClassRemotePod, 3},
	{netip.MustParsePrefix("2001:db8::1/128"), bpf.ClassLocalNode, 0},
	{netip.MustParsePrefix("2001:db8::2/128"), bpf.ClassRemoteNode, 2},
	{netip.MustParsePrefix("2001:db8::3/128"), bpf.ClassRemoteNode, 3},
}

// An address of each class, by family.
var (
	addresses4 = map[bpf.Class]netip.Addr{
		bpf.ClassNone:       netip.MustParseAddr("198.51.100.7"),
		bpf.ClassLocalPod:   netip.MustParseAddr("10.244.1.5"),
		bpf.ClassLocalNode:  netip.MustParseAddr("192.0.2.1"),
		bpf.ClassRemotePod:  netip.MustParseAddr("10.244.2.255"),
		bpf.ClassRemoteNode: netip.MustParseAddr("192.0.2.3"),
		bpf.ClassCluster:    netip.MustParseAddr("10.244.4.0"),
	}
	addresses6 = map[bpf.Class]netip.Addr{
		bpf.ClassNone:       netip.MustParseAddr("2001:db8:ffff::7"),
		bpf.ClassLocalPod:   netip.MustParseAddr("fd00:244:1::5"),
		bpf.ClassLocalNode:  netip.MustParseAddr("2001:db8::1"),
		bpf.ClassRemotePod:  netip.MustParseAddr("fd00:244:2:ffff:ffff:ffff:ffff:ffff"),
		bpf.ClassRemoteNode: netip.MustParseAddr("2001:db8::3"),
		bpf.ClassCluster:    netip.MustParseAddr("fd00:244:4::"),
	}
	families = map[string]map[bpf.Class]netip.Addr{"IPv4": addresses4, "IPv6": addresses6}
)

// steer is the loaded programs, their maps filled with the cluster.
type steer struct {
	bpf.SteerObjects
}

func load(t testing.TB) *steer {
	t.Helper()
	privtest.Root(t)
	s := new(steer)
	if err := bpf.LoadSteerObjects(&s.SteerObjects, nil); err != nil {
		t.Fatalf("load: %+v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, m := range cluster {
		s.put(t, m)
	}
	return s
}

func (s *steer) put(t testing.TB, m member) {
	t.Helper()
	if m.peer != 0 {
		perCPU := make([]bpf.SteerPeerCount, ebpf.MustPossibleCPU())
		if err := s.Peers.Update(m.peer, perCPU, ebpf.UpdateNoExist); err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			t.Fatal(err)
		}
	}
	value := bpf.SteerPrefix{Class: uint32(m.class), Peer: m.peer}
	if err := s.Prefixes.Put(bpf.Key(m.prefix), value); err != nil {
		t.Fatal(err)
	}
}

// policy is what the settings map says.
type policy struct{ strict, tunnel bool }

var policies = map[string]policy{
	"strict":                    {true, true},
	"strict without tunnel":     {true, false},
	"permissive":                {false, true},
	"permissive without tunnel": {false, false},
}

func (s *steer) set(t testing.TB, p policy) {
	t.Helper()
	var settings bpf.SteerSettings
	if p.strict {
		settings.Strict = 1
	}
	if p.tunnel {
		settings.TunnelIfindex = tunnelIndex
	}
	if err := s.Settings.Put(uint32(0), settings); err != nil {
		t.Fatal(err)
	}
}

// program is one of the four by its name in the object.
func (s *steer) program(name string) *ebpf.Program {
	return map[string]*ebpf.Program{
		bpf.SteerProgEgressL2:      s.EgressL2,
		bpf.SteerProgEgressL3:      s.EgressL3,
		bpf.SteerProgTunnelEgress:  s.TunnelEgress,
		bpf.SteerProgTunnelIngress: s.TunnelIngress,
	}[name]
}

var programs = []string{
	bpf.SteerProgEgressL2, bpf.SteerProgEgressL3,
	bpf.SteerProgTunnelEgress, bpf.SteerProgTunnelIngress,
}

// run gives a frame to a program and returns its action.
func (s *steer) run(t testing.TB, program string, frame []byte) int {
	t.Helper()
	action, err := s.program(program).Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return int(int32(action))
}

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
