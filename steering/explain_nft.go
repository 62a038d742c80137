package steering

import (
	"fmt"
	"strings"

	"github.com/wgsteer/wgsteer/bpf"
)

// tableSeen is what matters of our nftables table.
type tableSeen struct {
	name   string // "": it is not there, or has other rules
	strict bool
	spared map[int]bool // devices that it leaves to the programs
	pods   podDevices
}

// refuses says whether the table drops what the class table would not let pass
// in plaintext, on a device.
func (s tableSeen) refuses(device int) bool {
	return s.name != "" && s.strict && !s.spared[device]
}

// misrouted says whether the table takes a device for none of pods'.
func (s tableSeen) misrouted(d device) bool {
	return s.name != "" && s.pods.refuse(d.name)
}

// behind is what becomes of what came out of the tunnel for a pod, where a route has it
// behind a device that is none of pods'.
func (s scene) behind(e *Explanation, to bpf.Class) {
	if to != bpf.ClassLocalPod || s.route.Type != "unicast" || !s.table.misrouted(s.out) {
		return
	}
	why := fmt.Sprintf("a route has the pod behind %s, which is none of podDevices (%s): ", s.out.name, strings.Join(s.table.pods.patterns, ", "))
	if s.strict {
		e.settle("drop", bpf.ReasonMisrouted.String(), why+"the nftables table drops it")
		return
	}
	e.Plaintext = true
	e.Notes = append(e.Notes, why+"strict would drop it, permissive counts it")
}

// tableLayer says whether the table would catch a packet on its route.
func (s scene) tableLayer() Layer {
	table := Layer{Name: "nftables", Detail: s.table.name + " is for devices without programs"}
	switch {
	case s.table.name == "":
		table.Detail = "no nftables table of ours, with our rules"
	case !s.table.strict:
		table.Detail = s.table.name + " only counts: the policy is permissive"
	case s.route.Type != "unicast":
		table.There, table.Detail = true, s.table.name+", on devices without programs"
	case s.table.refuses(s.out.index):
		table.There, table.Detail = true, s.table.name+", on "+s.out.name
	}
	return table
}
