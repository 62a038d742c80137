package bpf_test

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/bpf"
)

// encapsulation is a way to carry a packet inside of another.
type encapsulation struct {
	protocol byte   // of the outer packet
	header   []byte // behind the outer IP header, before what is carried
	bridged  bool   // an Ethernet frame is carried
}

// udpTo is a UDP header without checksum, and more behind it.
func udpTo(port uint16, more ...byte) []byte {
	header := []byte{0x9c, 0x40, byte(port >> 8), byte(port), 0, 0, 0, 0}
	return append(header, more...)
}

// encapsulations are those that the programs look into, for a carried packet of
// one EtherType.
func encapsulations(etherType uint16) map[string]encapsulation {
	high, low := byte(etherType>>8), byte(etherType)
	protocol := byte(4)
	if etherType == 0x86dd {
		protocol = 41
	}
	vxlan := []byte{8, 0, 0, 0, 0, 0, 1, 0}
	return map[string]encapsulation{
		"IP in IP":                {protocol, nil, false},
		"GRE":                     {47, []byte{0, 0, high, low}, false},
		"GRE with a key":          {47, []byte{0x20, 0, high, low, 0, 0, 0, 7}, false},
		"GRE with all fields":     {47, []byte{0xb0, 0, high, low, 11: 7, 15: 0}, false},
		"gretap":                  {47, []byte{0, 0, 0x65, 0x58}, true},
		"VXLAN":                   {17, udpTo(4789, vxlan...), true},
		"VXLAN on flannel's port": {17, udpTo(8472, vxlan...), true},
		"Geneve":                  {17, udpTo(6081, 0, 0, 0x65, 0x58, 0, 0, 1, 0), true},
		"Geneve with options":     {17, append(udpTo(6081, 3, 0, 0x65, 0x58, 0, 0, 1, 0), make([]byte, 12)...), true},
		"Geneve without Ethernet": {17, udpTo(6081, 0, 0, high, low, 0, 0, 1, 0), false},
	}
}

// packet is an IP packet behind its Ethernet header.
func packet(source, destination netip.Addr, protocol byte, payload []byte) []byte {
	if source.Is4() && destination.Is4() {
		ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(payload)))
		ip = append(append(ip, source.AsSlice()...), destination.AsSlice()...)
		return append(ethernet(0x0800), append(ip, payload...)...)
	}
	from, to := source.As16(), destination.As16()
	ip := []byte{0x60, 0, 0, 0, 0, 0, protocol, 64}
	binary.BigEndian.PutUint16(ip[4:], uint16(len(payload)))
	ip = append(append(ip, from[:]...), to[:]...)
	return append(ethernet(0x86dd), append(ip, payload...)...)
}

func ethernet(etherType uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, etherType)
}

// carry is the payload of an outer packet that carries the untagged frame inner.
func (e encapsulation) carry(inner []byte) []byte {
	if !e.bridged {
		inner = inner[14:]
	}
	return append(append([]byte(nil), e.header...), inner...)
}

// Between two nodes, every encapsulation of every pair of classes: what may not
// cross on its own may not cross inside either.
func TestEncapsulations(t *testing.T) {
	s := load(t)
	for name, p := range policies {
		s.set(t, p)
		for outerFamily, outer := range families {
			for innerFamily, inner := range families {
				t.Run(name+"/"+innerFamily+" in "+outerFamily, func(t *testing.T) {
					for _, source := range classes {
						for _, destination := range classes {
							s.checkCarried(t, outer, frame(t, inner[source], inner[destination]), p)
						}
					}
				})
			}
		}
	}
}

// checkCarried compares to the twin what the programs do with frame between two
// nodes, in each encapsulation.
func (s *steer) checkCarried(t *testing.T, outer map[bpf.Class]netip.Addr, frame []byte, p policy) {
	t.Helper()
	want := s.counts(t)
	for kind, e := range encapsulations(binary.BigEndian.Uint16(frame[12:])) {
		around := packet(outer[bpf.ClassLocalNode], outer[bpf.ClassRemoteNode], e.protocol, e.carry(frame))
		for _, program := range guardPrograms {
			expected := twin(program, around, p, cluster, s.mtu)
			if action, _ := s.run(t, program, around); action != expected.action {
				t.Errorf("%s: %s returns %d for % x, want %d (%+v)", kind, program, action, around, expected.action, expected.outcome)
			}
			want = expect(want, expected, 1, around)
		}
	}
	if diff := cmp.Diff(want, s.counts(t), ignoreLayout); diff != "" {
		t.Errorf("% x: counters (-want +got)\n%s", frame, diff)
	}
}

// The forms of an outer packet that make the twin worth its comparison; each
// carries a packet from a local pod to a remote one, and would leak it.
func TestOuterForms(t *testing.T) {
	s := load(t)
	p := policies["strict"]
	s.set(t, p)
	inner := frame(t, addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod])
	vxlan := encapsulations(0x0800)["VXLAN"].carry(inner)
	ipip := encapsulations(0x0800)["IP in IP"].carry(inner)
	from4, to4 := addresses4[bpf.ClassLocalNode], addresses4[bpf.ClassRemoteNode]
	from6, to6 := addresses6[bpf.ClassLocalNode], addresses6[bpf.ClassRemoteNode]
	options := packet(from4, to4, 17, append(make([]byte, 8), vxlan...))
	options[14] = 0x47
	fragment := packet(from4, to4, 17, vxlan)
	fragment[14+6] = 0x20 // more fragments
	later := packet(from4, to4, 17, vxlan)
	later[14+7] = 1
	destination := func(next byte) []byte { return []byte{next, 0, 4, 1, 4, 1, 1, 0} } // as ip6tnl's
	tagged := frame(t, addresses4[bpf.ClassLocalPod], addresses4[bpf.ClassRemotePod], sTag, cTag)
	for name, test := range map[string]struct {
		frame  []byte
		action int
	}{
		"IPv4 options":             {options, shot},
		"first fragment":           {fragment, shot},
		"later fragment":           {later, next}, // documented
		"destination options":      {packet(from6, to6, 60, append(destination(4), ipip...)), shot},
		"four extension headers":   {packet(from6, to6, 0, append(append(destination(60), append(destination(43), destination(60)...)...), append(destination(17), vxlan...)...)), shot},
		"IPv6 first fragment":      {packet(from6, to6, 44, append([]byte{17, 0, 0, 1, 0, 0, 0, 9}, vxlan...)), shot},
		"IPv6 later fragment":      {packet(from6, to6, 44, append([]byte{17, 0, 0, 9, 0, 0, 0, 9}, vxlan...)), next}, // documented
		"VLAN tags inside":         {packet(from4, to4, 17, encapsulations(0x0800)["VXLAN"].carry(tagged)), shot},
		"from the world":           {packet(addresses4[bpf.ClassNone], to4, 17, vxlan), shot},
		"cut short inside":         {packet(from4, to4, 17, vxlan[:16+14+19]), shot},
		"no VXLAN flag":            {packet(from4, to4, 17, udpTo(4789, make([]byte, 60)...)), next},
		"another port":             {packet(from4, to4, 17, append(udpTo(4790), vxlan[8:]...)), next},
		"port 0":                   {packet(from4, to4, 17, append(udpTo(0), vxlan[8:]...)), next},
		"GRE of version 1, PPTP's": {packet(from4, to4, 47, append([]byte{0, 1, 8, 0}, inner[14:]...)), next},
		"WireGuard":                {packet(from4, to4, 17, udpTo(51871, append([]byte{4, 0, 0, 0}, make([]byte, 92)...)...)), next},
	} {
		t.Run(name, func(t *testing.T) {
			for _, program := range []string{bpf.SteerProgGuardEgressL2, bpf.SteerProgGuardEgressL3} {
				s.check(t, program, test.frame, p, s.counts(t))
				if got, _ := s.run(t, program, test.frame); got != test.action {
					t.Errorf("%s returns %d, want %d", program, got, test.action)
				}
			}
		})
	}
}

// wrap carries a random frame inside of another packet.
func wrap(r *rand.Rand, inner []byte, members []member) []byte {
	all := encapsulations(binary.BigEndian.Uint16(inner[12:]))
	names := slices.Sorted(maps.Keys(all)) // the seed decides, not the map
	e := all[names[r.IntN(len(names))]]
	payload, protocol := e.carry(inner), e.protocol
	source, destination := randomAddress(r, members), randomAddress(r, members)
	if source.Is6() || destination.Is6() {
		for range r.IntN(6) {
			header := make([]byte, 8+8*r.IntN(2))
			header[0], header[1] = protocol, byte(len(header)/8-1)
			payload, protocol = append(header, payload...), []byte{0, 43, 44, 60}[r.IntN(4)]
		}
	}
	return packet(source, destination, protocol, payload)
}
