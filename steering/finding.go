package steering

import (
	"fmt"
	"slices"
	"strings"
)

// The capabilities that steering needs, by their bit: include/uapi/linux/capability.h.
const (
	capNetAdmin = 12
	capSysAdmin = 21 // what CAP_BPF was split from, and still includes it
	capBPF      = 39
)

// Level says how bad a Finding is.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // works, but not as well as it could, or not everywhere
	Fail Level = "fail" // steering cannot work
)

// Finding is what Check found out about one thing.
type Finding struct {
	Name   string `json:"name"` // of the thing: "kernel", "bpffs", ...
	Level  Level  `json:"level"`
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty"` // what to do about it, where it is not ok
}

// judgeKernel judges a release as uname tells it, such as "6.1.0-18-amd64".
func judgeKernel(release string) Finding {
	f := Finding{Name: "kernel", Level: OK, Detail: "Linux " + release}
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		f.Level, f.Detail = Warn, fmt.Sprintf("cannot read a version from %q", release)
		f.Mend = "see the other findings: what the kernel can do counts, not its number"
		return f
	}
	if major < 6 || major == 6 && minor < 1 {
		f.Level, f.Detail = Warn, f.Detail+" is older than 6.1, the oldest that is tested"
		f.Mend = "use Linux 6.1 or newer (6.6 or newer has tcx)"
	}
	return f
}

// judgeCapabilities judges a process's effective capabilities, a bit each.
func judgeCapabilities(effective uint64) Finding {
	f := Finding{Name: "capabilities", Level: OK, Detail: "CAP_BPF and CAP_NET_ADMIN are there"}
	has := func(capability int) bool { return effective&(1<<capability) != 0 }
	var missing []string
	if !has(capBPF) && !has(capSysAdmin) {
		missing = append(missing, "CAP_BPF")
	}
	if !has(capNetAdmin) {
		missing = append(missing, "CAP_NET_ADMIN")
	}
	if len(missing) > 0 {
		f.Level, f.Detail = Fail, strings.Join(missing, " and ")+" missing"
		f.Mend = "run as root, or give the container these capabilities"
	}
	return f
}

// judgeDevices judges what would be steered.
func judgeDevices(sel selection) []Finding {
	var found []Finding
	var names []string
	for _, t := range sel.targets {
		names = append(names, fmt.Sprintf("%s (%s)", t.Name, t.Reason))
	}
	if len(names) > 0 {
		found = append(found, Finding{Name: "devices", Level: OK, Detail: strings.Join(names, ", ")})
	} else {
		found = append(found, Finding{
			Name: "devices", Level: Warn, Detail: "no device leads to other nodes: no default route, no overlay device",
			Mend: "give the node a route to its peers, or name the devices in the configuration",
		})
	}
	for _, d := range sel.unsteerable {
		found = append(found, Finding{
			Name: "devices", Level: Warn, Detail: fmt.Sprintf("%s cannot be steered: %s", d.Name, d.Reason),
			Mend: "name the devices to steer in the configuration, and keep pods off " + d.Name,
		})
	}
	return found
}

// beforeLastOfOurs are the others of a chain, by name, that come before the last of
// ours, which have none.
func beforeLastOfOurs(chain []string) []string {
	var others, ahead []string
	for _, name := range chain {
		if name == "" {
			ahead = slices.Clone(others)
			continue
		}
		others = append(others, name)
	}
	return ahead
}

// judgeForeign judges the programs of others that see a device's packets before
// ours, first one first.
func judgeForeign(h hook, device string, ahead []string) []Finding {
	if len(ahead) == 0 {
		return nil
	}
	not := "steered"
	if h.ingress {
		not = "guarded"
	}
	return []Finding{{
		Name: "foreign-programs", Level: Warn,
		Detail: fmt.Sprintf("on the %s of %s, ahead of ours: %s; what they redirect or accept is not %s",
			h.direction(), device, strings.Join(ahead, ", "), not),
		Mend: "let them return TCX_NEXT (TC_ACT_UNSPEC), or attach after ours",
	}}
}

// judgePolicy judges the policy that is in force.
func judgePolicy(strict bool) Finding {
	if strict {
		return Finding{Name: "policy", Level: OK, Detail: "strict is in force"}
	}
	return Finding{
		Name: "policy", Level: Warn, Detail: "permissive is in force: what cannot be encrypted passes in plaintext, and is counted",
		Mend: "set policy: strict once `wgsteer status` says that it is safe",
	}
}

// judgeLayers judges what of the guard is missing.
func judgeLayers(missing []string) Finding {
	if len(missing) == 0 {
		return Finding{Name: "layers", Level: OK, Detail: "every layer of the guard stands"}
	}
	return Finding{
		Name: "layers", Level: Fail, Detail: "missing: " + strings.Join(missing, ", "),
		Mend: mendLayers,
	}
}

const mendLayers = "the daemon puts back what is taken away: is it running? `wgsteer guard` does so without it"

// judgeLeftovers judges what is there of a data plane whose pins are gone, if anything.
func judgeLeftovers(names []string) []Finding {
	if len(names) == 0 {
		return []Finding{{
			Name: "layers", Level: Warn, Detail: "none is there: what pods of this node and others send each other is in plaintext",
			Mend: "start wgsteer, or have `wgsteer guard` put the guard up without it",
		}}
	}
	return []Finding{{
		Name: "leftovers", Level: Warn, Detail: "without the pins they belong to: " + strings.Join(names, ", "),
		Mend: "`wgsteer teardown` removes them; a start takes them over",
	}}
}
