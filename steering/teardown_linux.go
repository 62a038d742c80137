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

// remnant is one thing of ours on this host, and how to remove it.
type remnant struct {
	name   string
	remove func() error
}

// Teardown removes all that steering made for the tunnel device options.Name: the
// nftables table, programs, routes, addresses, pins; no Steering may be running
// for it. From then on packets between pods go as if wgsteer had never been. It
// returns what it removed, also beside an error, and has looked afterwards that
// nothing is left. A second time there is nothing to remove. What others have pinned beside
// our links is left in place, with its directory, and named by the error.
func Teardown(options Options) (removed []string, err error) {
	o, err := options.validated()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.pins()); err == nil {
		lock, err := lockPins(o.pins(), lockWait)
		if err != nil {
			return nil, err
		}
		defer lock.Close()
	}
	found, err := o.remnants()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range found {
		if err := r.remove(); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, r.name)
	}
	// Apply made the directory around them too, unless it is the mount itself,
	// and other tunnels may have pins there: then this fails, and may.
	if os.Remove(o.BPFFS) == nil {
		removed = append(removed, "directory "+o.BPFFS)
	}
	left, err := o.remnants()
	errs = append(errs, err)
	for _, r := range left {
		errs = append(errs, fmt.Errorf("left over: %s", r.name))
	}
	_, strange, err := pinnedSlots(o.links())
	errs = append(errs, err)
	for _, path := range strange {
		errs = append(errs, fmt.Errorf("left in place: %s, which is not wgsteer's: remove it, and run this again for its directory", path))
	}
	return removed, errors.Join(errs...)
}

// remnants lists what there is, in the order in which to remove it: the nftables
// table, programs, routes and addresses, then the pins.
func (o Options) remnants() ([]remnant, error) {
	table, err := o.nftRemnants()
	if err != nil {
		return nil, err
	}
	attached, err := o.attachedRemnants()
	if err != nil {
		return nil, err
	}
	routed, err := o.routedRemnants()
	if err != nil {
		return nil, err
	}
	pinned, err := o.pinnedRemnants()
	return slices.Concat(table, attached, routed, pinned), err
}

func (o Options) attachedRemnants() ([]remnant, error) {
	a, err := newAttacher(o)
	if err != nil {
		return nil, err
	}
	pinned, _, err := pinnedSlots(a.links)
	if err != nil {
		return nil, err
	}
	var found []remnant
	for _, s := range pinned {
		found = append(found, remnant{
			fmt.Sprintf("tcx link, %s on the %s of %s", s.role, s.direction(), deviceName(s.device)),
			func() error { _, err := a.detachTCX(s); return err },
		})
	}
	for s := range a.filters {
		found = append(found, remnant{
			fmt.Sprintf("clsact filter, %s on the %s of %s", s.role, s.direction(), deviceName(s.device)),
			func() error { _, err := a.detachClsact(s); return err },
		})
	}
	return found, nil
}

func (o Options) routedRemnants() ([]remnant, error) {
	routes, err := host{o.RouteProtocol, o.RouteTable}.ourRoutes()
	if err != nil {
		return nil, err
	}
	var found []remnant
	for _, r := range routes {
		found = append(found, remnant{
			routeName(r),
			func() error { return removeRoute(r) },
		})
	}
	tunnel, err := netlink.LinkByName(o.Name)
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return found, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for device %s: %w", o.Name, err)
	}
	index := tunnel.Attrs().Index
	addresses, err := listAddresses(index)
	for _, a := range addresses {
		if isOurs(a) {
			found = append(found, remnant{
				fmt.Sprintf("address %v of %s", a.IPNet, o.Name),
				func() error { return removeAddress(index, a) },
			})
		}
	}
	return found, err
}

// routeName is "unreachable route to 10.244.0.0/16, metric 4294967295".
func routeName(r netlink.Route) string {
	name := fmt.Sprintf("route to %v, metric %d", r.Dst, uint32(r.Priority))
	if r.Type == unix.RTN_UNREACHABLE {
		name = "unreachable " + name
	}
	return name
}

// pinnedRemnants are the pins of maps, unfinished ones included, and the
// directories.
func (o Options) pinnedRemnants() ([]remnant, error) {
	maps := filepath.Join(o.pins(), "maps")
	entries, err := os.ReadDir(maps)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the pinned maps: %w", err)
	}
	var found []remnant
	for _, e := range entries {
		path := filepath.Join(maps, e.Name())
		found = append(found, remnant{"pin " + path, func() error { return os.Remove(path) }})
	}
	dirs := []string{maps, o.links(), o.pins()}
	if _, strange, err := pinnedSlots(o.links()); err != nil || len(strange) > 0 {
		dirs = dirs[:1] // the others are not ours alone
	}
	for _, dir := range dirs {
		if _, err := os.Lstat(dir); err == nil {
			found = append(found, remnant{"directory " + dir, func() error { return os.Remove(dir) }})
		}
	}
	return found, nil
}

// deviceName is the name of a device, or its index where it is gone.
func deviceName(index int) string {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("device %d", index)
	}
	return l.Attrs().Name
}
