package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/wgsteer/wgsteer/bpf"
)

// ErrNotPinned says that there is no data plane, running or dead, to explain.
var ErrNotPinned = errors.New("nothing is pinned")

// Explain says what becomes of a packet from one address to another, here and
// now. It reads the pins, so the process that made them need not live, and
// changes nothing.
func Explain(options Options, source, destination netip.Addr) (Explanation, error) {
	o, err := options.validated()
	if err != nil {
		return Explanation{}, err
	}
	source, destination = source.Unmap(), destination.Unmap()
	if source.Is4() != destination.Is4() {
		return Explanation{}, fmt.Errorf("%v and %v are not of one family", source, destination)
	}
	s, err := o.readPins()
	if errors.Is(err, ErrNotPinned) {
		err = o.outlived(err)
	}
	if err != nil {
		return Explanation{}, err
	}
	if err := s.readDevices(o); err != nil {
		return Explanation{}, err
	}
	if err := s.readRoutes(o, source, destination); err != nil {
		return Explanation{}, err
	}
	if s.table, err = o.seeTable(s.strict); err != nil {
		return Explanation{}, err
	}
	if s.out.index != 0 {
		if s.ahead, err = foreignAhead(o, hook{s.out.index, false}); err != nil {
			return Explanation{}, err
		}
	}
	return s.explain(source, destination), nil
}

// readPins reads the maps.
func (o Options) readPins() (scene, error) {
	var s scene
	var settings bpf.SteerSettings
	for name, read := range map[string]func(*ebpf.Map) error{
		bpf.SteerMapPrefixes: func(m *ebpf.Map) (err error) {
			s.prefixes, err = readMap[bpf.SteerPrefixKey, bpf.SteerPrefix](m)
			return err
		},
		bpf.SteerMapPeerNames: func(m *ebpf.Map) error {
			values, err := readMap[uint32, bpf.SteerPeerName](m)
			s.names = make(map[uint32]string, len(values))
			for id, v := range values {
				s.names[id] = v.String()
			}
			return err
		},
		bpf.SteerMapSettings: func(m *ebpf.Map) error { return m.Lookup(uint32(0), &settings) },
	} {
		path := filepath.Join(o.pins(), "maps", name)
		m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
		if errors.Is(err, fs.ErrNotExist) {
			return s, o.unpinned()
		}
		if err == nil {
			err = errors.Join(read(m), m.Close())
		}
		if err != nil {
			return s, fmt.Errorf("read pinned map %s (this needs root): %w", path, err)
		}
	}
	s.strict, s.index = settings.Strict != 0, int(settings.TunnelIfindex)
	return s, nil
}

// errPinGone says that some maps are pinned, but not all.
var errPinGone = errors.New("not all maps are pinned")

// unpinned is the error where a map is not pinned.
func (o Options) unpinned() error {
	gone, all := o.missingPins()
	if all {
		return fmt.Errorf("%w under %s: no data plane has run for %s; `wgsteer run` starts one", ErrNotPinned, o.pins(), o.Name)
	}
	return fmt.Errorf("%w under %s: somebody removed the %s; a start of wgsteer puts it back", errPinGone, o.pins(), strings.Join(gone, ", the "))
}

// outlived is err, or another where the pins alone are gone, and the rest still stands.
func (o Options) outlived(err error) error {
	left, failed := o.remnants()
	if failed != nil || len(left) == 0 {
		return errors.Join(err, failed)
	}
	return fmt.Errorf("%w under %s any more, but %d other things of %s are there (%s, ...): somebody removed the pins; a start of wgsteer puts them back, and `wgsteer check` names what is left", ErrNotPinned, o.pins(), len(left), o.Name, left[0].name)
}

// missingPins names the maps' pins that are not there, and says whether that is all.
func (o Options) missingPins() (names []string, all bool) {
	maps := new(objects).maps()
	for name := range maps {
		if _, err := os.Lstat(filepath.Join(o.pins(), "maps", name)); errors.Is(err, fs.ErrNotExist) {
			names = append(names, part{layer: layerPin, name: name}.String())
		}
	}
	slices.Sort(names)
	return names, len(names) == len(maps)
}

// readDevices finds the tunnel device and where our programs are.
func (s *scene) readDevices(o Options) error {
	n, err := readNetwork(o.RouteProtocol)
	if err != nil {
		return err
	}
	s.egress, s.ingress = map[string]programs{}, map[string]programs{}
	for _, d := range n.devices {
		if d.name == o.Name {
			s.tunnel = d
			continue
		}
		for at, h := range map[*map[string]programs]hook{&s.egress: {d.index, false}, &s.ingress: {d.index, true}} {
			found, err := o.programsOn(h)
			if err != nil {
				return err
			}
			if len(found) > 0 {
				(*at)[d.name] = found
			}
		}
	}
	return nil
}

// programsOn are our programs on one side of a device.
func (o Options) programsOn(h hook) (programs, error) {
	found := programs{}
	filters, err := deviceFilters(h.device, h.parent())
	if err != nil {
		return nil, err
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(b.Name, filterOwner(o.Name)) {
			found[filterSlot(b, filterOwner(o.Name)).role] = mechanismClsact
		}
	}
	for _, r := range []role{roleSteer, roleGuard} {
		attached, err := linkHolds(filepath.Join(o.links(), slot{h, r}.pin()), h)
		if err != nil {
			return nil, err
		}
		if attached {
			found[r] = mechanismTCX
		}
	}
	return found, nil
}

// linkHolds says whether a pinned link is at its hook: one that was detached, or
// whose device is gone, stays pinned.
func linkHolds(path string, h hook) (bool, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open pinned link %s: %w", path, err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("ask for pinned link %s: %w", path, err)
	}
	tcx := info.TCX()
	return tcx != nil && int(tcx.Ifindex) == h.device, nil
}
