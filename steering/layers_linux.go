package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// checkLayers looks whether each layer of the guard stands, where a data plane has
// left pins; and for what is left over where none has.
func checkLayers(o Options, sel selection) []Finding {
	if _, err := os.Stat(o.pins()); errors.Is(err, fs.ErrNotExist) {
		return append(checkLeftovers(o), checkOthers(o)...)
	}
	s, err := o.readPins()
	if errors.Is(err, ErrNotPinned) { // a directory without maps
		return append(checkLeftovers(o), checkOthers(o)...)
	}
	if err != nil {
		return []Finding{failed("layers", err)}
	}
	var missing []string
	for _, t := range sel.targets {
		lacks, err := o.missingOn(t)
		if err != nil {
			return []Finding{failed("layers", err)}
		}
		missing = append(missing, lacks...)
	}
	lacks, err := o.missingRoutes(s)
	if err != nil {
		return []Finding{failed("layers", err)}
	}
	return append([]Finding{judgeLayers(append(missing, lacks...))}, checkOthers(o)...)
}

// missingOn are the guards that a device should have and has not. What redirects is
// none of them: without a tunnel there is nothing to redirect to.
func (o Options) missingOn(t target) ([]string, error) {
	var missing []string
	for _, h := range []hook{{t.Index, false}, {t.Index, true}} {
		on, err := o.programsOn(h)
		if err != nil {
			return nil, err
		}
		for _, at := range t.attachments() {
			// The backstop is needed where tcx is, and only there.
			backstop := at.role == roleBackstop && on[roleGuard] != mechanismClsact
			if at.hook == h && on[at.role] == "" && (at.role == roleGuard || backstop) {
				missing = append(missing, at.String())
			}
		}
	}
	return missing, nil
}

// missingRoutes are the unreachable routes that strict wants and that are not there.
func (o Options) missingRoutes(s scene) ([]string, error) {
	routes, err := host{o.RouteProtocol, o.RouteTable}.ourRoutes()
	if err != nil || !s.strict {
		return nil, err
	}
	var missing []string
	for _, cidr := range s.clusterCIDRs() {
		there := slices.ContainsFunc(routes, func(r netlink.Route) bool {
			dst, ok := prefixOf(r.Dst)
			return ok && dst == cidr && r.Type == unix.RTN_UNREACHABLE
		})
		if !there {
			missing = append(missing, fmt.Sprintf("unreachable route to %v", cidr))
		}
	}
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

// checkOthers finds the pins of other tunnel devices that no process holds.
func checkOthers(o Options) []Finding {
	entries, err := os.ReadDir(o.BPFFS)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []Finding{failed("leftovers", fmt.Errorf("list %s: %w", o.BPFFS, err))}
	}
	var found []Finding
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
