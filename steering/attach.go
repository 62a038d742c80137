package steering

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wgsteer/wgsteer/bpf"
)

// The two ways to attach, as Attachment.Mechanism names them.
const (
	mechanismTCX    = "tcx"    // a link in the device's chain, from Linux 6.6
	mechanismClsact = "clsact" // a filter of the clsact qdisc, by netlink
)

// role is what a program is for. Each stands without the others.
type role string

const (
	roleSteer    role = "steer"    // redirects into the tunnel; ahead of the guard
	roleGuard    role = "guard"    // drops; on the tunnel device it also counts for peers
	roleBackstop role = "backstop" // the guard once more, always by clsact, behind tcx
)

// hook is one side of a device.
type hook struct {
	device  int // index; names change
	ingress bool
}

func (h hook) direction() string {
	if h.ingress {
		return "ingress"
	}
	return "egress"
}

// slot is where one program goes.
type slot struct {
	hook
	role role
}

// pin is the name of the slot's link in the bpffs.
func (s slot) pin() string {
	return strings.TrimSuffix(fmt.Sprintf("%d-%s-%s", s.device, s.direction(), s.role), "-")
}

// slotOf is the slot that a pin's name is of, with any role or none: what this version
// does not know is a slot that it does not want. Other names are not of slots.
func slotOf(pin string) (slot, bool) {
	index, rest, _ := strings.Cut(pin, "-")
	direction, name, _ := strings.Cut(rest, "-")
	device, err := strconv.Atoi(index)
	s := slot{hook{device, direction == "ingress"}, role(name)}
	if err != nil || s.pin() != pin {
		return slot{}, false
	}
	return s, true
}

// attachment is a program and where it goes.
type attachment struct {
	slot
	name    string // of the device, for messages
	program string // one of bpf's names
}

// String names it for people: "guard on the egress of eth0".
func (at attachment) String() string {
	return fmt.Sprintf("%s on the %s of %s", at.role, at.direction(), at.name)
}

// by is the mechanism that it is attached by, where preferred is the kernel's better
// one; "" where it is not needed.
func (at attachment) by(preferred string) string {
	if at.role != roleBackstop {
		return preferred
	}
	if preferred == mechanismTCX {
		return mechanismClsact
	}
	return "" // it would be the same filter twice
}

// attachments are those on a device to steer. The guards come first: steer alone
// would let go what it does not encrypt. Of those of tcx each is put at the head, so
// steer comes to be ahead of the guard.
func (t target) attachments() []attachment {
	var all []attachment
	for _, p := range []struct {
		ingress bool
		role    role
		l2, l3  string
	}{
		{false, roleGuard, bpf.SteerProgGuardEgressL2, bpf.SteerProgGuardEgressL3},
		{false, roleBackstop, bpf.SteerProgBackstopEgressL2, bpf.SteerProgBackstopEgressL3},
		{true, roleGuard, bpf.SteerProgGuardIngressL2, bpf.SteerProgGuardIngressL3},
		{true, roleBackstop, bpf.SteerProgBackstopIngressL2, bpf.SteerProgBackstopIngressL3},
		{false, roleSteer, bpf.SteerProgSteerL2, bpf.SteerProgSteerL3},
	} {
		program := p.l3
		if t.ethernet {
			program = p.l2
		}
		all = append(all, attachment{slot{hook{t.Index, p.ingress}, p.role}, t.Name, program})
	}
	return all
}

// tunnelAttachments are those on the tunnel device. There is no backstop on its
// egress: all that goes in there is encrypted, or dropped for want of a peer.
func tunnelAttachments(index int, name string) []attachment {
	return []attachment{
		{slot{hook{index, true}, roleGuard}, name, bpf.SteerProgTunnelIngress},
		{slot{hook{index, true}, roleBackstop}, name, bpf.SteerProgBackstopTunnelIngress},
		{slot{hook{index, false}, roleGuard}, name, bpf.SteerProgTunnelEgress},
	}
}

// roleOf is the role of a program, by whose name a filter is known; "" for those that
// this version does not know.
func roleOf(program string) role {
	if program == bpf.SteerProgTunnelIngress || program == bpf.SteerProgTunnelEgress {
		return roleGuard
	}
	name, _, _ := strings.Cut(program, "_")
	if r := role(name); r == roleSteer || r == roleGuard || r == roleBackstop {
		return r
	}
	return ""
}
