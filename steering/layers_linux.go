package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// checkLayers looks whether each layer of the guard stands, and what is to be there with a
// tunnel, where a data plane has left pins; and for what is left over where none has.
func checkLayers(o Options, net network, sel selection) []Finding {
	missing, all := o.missingPins()
	if all {
		return append(checkLeftovers(o), checkOthers(o)...)
	}
	s, err := o.readPins()
	if errors.Is(err, errPinGone) { // what it held is not known, and so not what belongs there
		return append([]Finding{judgeLayers(missing)}, checkOthers(o)...)
	}
	if err != nil {
		return []Finding{failed("layers", err)}
	}
	state := s.state()
	var wanted []attachment
	for _, t := range sel.targets {
		wanted = append(wanted, t.attachments()...)
	}
	for _, d := range net.devices { // while it is the one that packets are sent to
		if d.name == o.Name && d.index == s.index {
			state.Tunnel.Index = d.index
			wanted = append(wanted, tunnelAttachments(d.index, d.name)...)
		}
	}
	for _, look := range []func() ([]string, error){
		func() ([]string, error) { return o.missingPrograms(wanted) },
		func() ([]string, error) { return o.missingRoutes(state) },
		func() ([]string, error) { return missingAddresses(state) },
	} {
		lacks, err := look()
		if err != nil {
			return []Finding{failed("layers", err)}
		}
		missing = append(missing, lacks...)
	}
	return append([]Finding{judgeLayers(missing), judgePolicy(s.strict)}, checkOthers(o)...)
}

// missingPrograms are the guards that should be attached and are not. What redirects is
// none of them: without a tunnel there is nothing to redirect to.
func (o Options) missingPrograms(wanted []attachment) ([]string, error) {
	var missing []string
	for _, at := range wanted {
		on, err := o.programsOn(at.hook)
		if err != nil {
			return nil, err
		}
		// The backstop is needed where tcx is, and only there.
		backstop := at.role == roleBackstop && on[roleGuard] != mechanismClsact
		if on[at.role] == "" && (at.role == roleGuard || backstop) {
			missing = append(missing, at.String())
		}
	}
	return missing, nil
}

// missingRoutes are the routes of ours that state wants and that are not there.
func (o Options) missingRoutes(state State) ([]string, error) {
	routes, err := host{o.RouteProtocol, o.RouteTable}.ourRoutes()
	if err != nil {
		return nil, err
	}
	there := map[routeKey]int{} // the device that it leads to; 0: unreachable
	for _, r := range routes {
		if key, target, ok := ownRoute(r); ok && r.Table == o.RouteTable {
			there[key] = target.device
		}
	}
	var missing []string
	for key, target := range state.routes() {
		if device, ok := there[key]; !ok || device != target.device {
			missing = append(missing, part{layer: layerRoute, device: target.device, prefix: key.dst}.String())
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// missingAddresses are those of ours that the tunnel device should have and has not.
func missingAddresses(state State) ([]string, error) {
	if state.Tunnel.Index == 0 {
		return nil, nil
	}
	listed, err := listAddresses(state.Tunnel.Index)
	if err != nil {
		return nil, err
	}
	want := state.addresses()
	for _, a := range listed {
		if p, ok := prefixOf(a.IPNet); ok {
			delete(want, p)
		}
	}
	var missing []string
	for p := range want {
		missing = append(missing, part{layer: layerAddress, prefix: p}.String())
	}
	slices.Sort(missing)
	return missing, nil
}

// checkLeftovers finds what is of this tunnel device's without its pins.
func checkLeftovers(o Options) []Finding {
	left, err := o.remnants()
	if err != nil {
		return []Finding{failed("leftovers", err)}
	}
	var names []string
	for _, r := range left {
		names = append(names, r.name)
	}
	return judgeLeftovers(names)
}

// checkOthers finds what is not of this tunnel device: what others pinned beside our
// links, and the pins of other tunnel devices that no process holds.
func checkOthers(o Options) []Finding {
	var found []Finding
	if _, strange, err := pinnedSlots(o.links()); err != nil {
		found = append(found, failed("leftovers", err))
	} else if len(strange) > 0 {
		found = append(found, Finding{
			Name: "leftovers", Level: Warn, Detail: "not wgsteer's, among its links: " + strings.Join(strange, ", "),
			Mend: "remove what is not needed; wgsteer leaves it alone",
		})
	}
	entries, err := os.ReadDir(o.BPFFS)
	if errors.Is(err, fs.ErrNotExist) {
		return found
	}
	if err != nil {
		return append(found, failed("leftovers", fmt.Errorf("list %s: %w", o.BPFFS, err)))
	}
	for _, e := range entries {
		dir := filepath.Join(o.BPFFS, e.Name())
		if e.Name() == o.Name || !e.IsDir() || held(dir) {
			continue
		}
		found = append(found, Finding{
			Name: "leftovers", Level: Warn,
			Detail: fmt.Sprintf("pins of another tunnel device, %s, which no process holds, in %s", e.Name(), dir),
			Mend:   "`wgsteer teardown` with the configuration that names that interface",
		})
	}
	return found
}

// held says whether a process steers by the pins in dir.
func held(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}
