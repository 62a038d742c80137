package steering

import (
	"fmt"

	"github.com/wgsteer/wgsteer/bpf"
)

// The two ways to attach, as Attachment.Mechanism names them.
const (
	mechanismTCX    = "tcx"    // a link in the device's chain, from Linux 6.6
	mechanismClsact = "clsact" // a filter of the clsact qdisc, by netlink
)

// hook is where one program goes. In the bpffs and on the wire of netlink it is
// known by the device's index; names change.
type hook struct {
	device  int
	ingress bool
}

// pin is the name of the hook's link in the bpffs.
func (h hook) pin() string { return fmt.Sprintf("%d-%s", h.device, h.direction()) }

func (h hook) direction() string {
	if h.ingress {
		return "ingress"
	}
	return "egress"
}

// hookOf is the hook that a pin's name is of.
func hookOf(pin string) (hook, error) {
	var h hook
	var direction string
	if _, err := fmt.Sscanf(pin, "%d-%s", &h.device, &direction); err != nil {
		return hook{}, fmt.Errorf("pin %q is not the name of a hook", pin)
	}
	h.ingress = direction == "ingress"
	if h.pin() != pin {
		return hook{}, fmt.Errorf("pin %q is not the name of a hook", pin)
	}
	return h, nil
}

// attachment is a program and where it goes.
type attachment struct {
	hook
	name    string // of the device, for messages
	program string // one of bpf's names
}

// attachments are those on a device to steer. The egress comes first: until the
// ingress is guarded too, plaintext may come in, but none leaves.
func (t target) attachments() []attachment {
	egress, ingress := bpf.SteerProgEgressL3, bpf.SteerProgIngressL3
	if t.ethernet {
		egress, ingress = bpf.SteerProgEgressL2, bpf.SteerProgIngressL2
	}
	return []attachment{
		{hook{t.Index, false}, t.Name, egress},
		{hook{t.Index, true}, t.Name, ingress},
	}
}

// tunnelAttachments are those on the tunnel device.
func tunnelAttachments(index int, name string) []attachment {
	return []attachment{
		{hook{index, true}, name, bpf.SteerProgTunnelIngress},
		{hook{index, false}, name, bpf.SteerProgTunnelEgress},
	}
}
