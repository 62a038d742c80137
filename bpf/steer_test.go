package bpf_test

import (
	"errors"
	"slices"
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

// steer is the loaded programs, their maps filled with the cluster.
type steer struct {
	bpf.SteerObjects
	// On which tunnel_egress and tunnel_ingress are test-run, 0 for loopback.
	device, mtu int
}

func load(t testing.TB) *steer {
	t.Helper()
	privtest.Root(t)
	s := &steer{mtu: loopbackMTU}
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
	settings := bpf.SteerSettings{VxlanPorts: vxlanPorts, GenevePorts: genevePorts}
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

// program is one of the programs by its name in the object.
func (s *steer) program(name string) *ebpf.Program {
	return map[string]*ebpf.Program{
		bpf.SteerProgSteerL2:               s.SteerL2,
		bpf.SteerProgSteerL3:               s.SteerL3,
		bpf.SteerProgGuardEgressL2:         s.GuardEgressL2,
		bpf.SteerProgGuardEgressL3:         s.GuardEgressL3,
		bpf.SteerProgGuardIngressL2:        s.GuardIngressL2,
		bpf.SteerProgGuardIngressL3:        s.GuardIngressL3,
		bpf.SteerProgBackstopEgressL2:      s.BackstopEgressL2,
		bpf.SteerProgBackstopEgressL3:      s.BackstopEgressL3,
		bpf.SteerProgBackstopIngressL2:     s.BackstopIngressL2,
		bpf.SteerProgBackstopIngressL3:     s.BackstopIngressL3,
		bpf.SteerProgTunnelEgress:          s.TunnelEgress,
		bpf.SteerProgTunnelIngress:         s.TunnelIngress,
		bpf.SteerProgBackstopTunnelIngress: s.BackstopTunnelIngress,
	}[name]
}

// guardPrograms count all that they see.
var guardPrograms = []string{
	bpf.SteerProgGuardEgressL2, bpf.SteerProgGuardEgressL3,
	bpf.SteerProgGuardIngressL2, bpf.SteerProgGuardIngressL3,
}

var programs = append(slices.Clone(guardPrograms),
	bpf.SteerProgSteerL2, bpf.SteerProgSteerL3,
	bpf.SteerProgBackstopEgressL2, bpf.SteerProgBackstopEgressL3,
	bpf.SteerProgBackstopIngressL2, bpf.SteerProgBackstopIngressL3,
	bpf.SteerProgTunnelEgress, bpf.SteerProgTunnelIngress, bpf.SteerProgBackstopTunnelIngress)

// skbContext is struct __sk_buff of linux/bpf.h, as far as it is set here.
type skbContext struct {
	_       [8]byte
	Mark    uint32
	_       [28]byte
	Ifindex uint32
	_       [120]byte
	GSOSegs uint32
	_       [8]byte
	GSOSize uint32
	_       [12]byte
}

// onTunnel says whether a program is one of the tunnel device's.
func onTunnel(program string) bool {
	return program == bpf.SteerProgTunnelEgress || program == bpf.SteerProgTunnelIngress
}

// run gives a frame to a program and returns its action, and for the tunnel device's
// what the frame has become.
func (s *steer) run(t testing.TB, program string, frame []byte) (action int, out []byte) {
	t.Helper()
	options := ebpf.RunOptions{Data: frame}
	if onTunnel(program) {
		options.Context, options.DataOut = skbContext{Ifindex: uint32(s.device)}, make([]byte, len(frame)+256)
	}
	returned, err := s.program(program).Run(&options)
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return int(int32(returned)), options.DataOut
}
