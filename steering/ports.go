package steering

import (
	"fmt"
	"slices"

	"github.com/wgsteer/wgsteer/bpf"
)

// EncapsulationPorts are the UDP ports on which the programs look into packets
// that other encapsulations made. At most 8 of each; none means the usual ones.
type EncapsulationPorts struct {
	VXLAN  []uint16 // usually 4789 (IANA) and 8472 (Linux, flannel)
	Geneve []uint16 // usually 6081 (IANA)
}

// OrUsual is p with the usual ports in place of none.
func (p EncapsulationPorts) OrUsual() EncapsulationPorts {
	if len(p.VXLAN) == 0 {
		p.VXLAN = []uint16{4789, 8472}
	}
	if len(p.Geneve) == 0 {
		p.Geneve = []uint16{6081}
	}
	return p
}

// Check says what of p the programs cannot do; nil when they can all.
func (p EncapsulationPorts) Check() error {
	p = p.OrUsual()
	room := len(bpf.SteerSettings{}.VxlanPorts)
	if len(p.VXLAN) > room || len(p.Geneve) > room {
		return fmt.Errorf("%d ports for VXLAN and %d for Geneve: there is room for %d of each", len(p.VXLAN), len(p.Geneve), room)
	}
	for _, port := range slices.Concat(p.VXLAN, p.Geneve) {
		if port == 0 {
			return fmt.Errorf("encapsulation port 0: no packet goes there")
		}
		if slices.Contains(p.VXLAN, port) && slices.Contains(p.Geneve, port) {
			return fmt.Errorf("encapsulation port %d: either VXLAN or Geneve, not both", port)
		}
	}
	return nil
}

// settings are the programs' settings for a valid state.
func (s State) settings() bpf.SteerSettings {
	want := bpf.SteerSettings{TunnelIfindex: uint32(s.Tunnel.Index)}
	if s.Strict {
		want.Strict = 1
	}
	ports := s.EncapsulationPorts.OrUsual()
	copy(want.VxlanPorts[:], ports.VXLAN)
	copy(want.GenevePorts[:], ports.Geneve)
	return want
}
