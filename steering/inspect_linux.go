package steering

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/bpf"
)

// InspectMaps reads the pinned maps. The error is ErrNotPinned where there are none.
func InspectMaps(options Options) (found InspectedMaps, err error) {
	o, err := options.validated()
	if err != nil {
		return found, err
	}
	s, err := o.readPins()
	if err != nil {
		return found, err
	}
	for key, value := range s.prefixes {
		found.Prefixes = append(found.Prefixes, InspectedPrefix{key.Prefix(), bpf.Class(value.Class).String(), s.names[value.Peer]})
	}
	slices.SortFunc(found.Prefixes, func(a, b InspectedPrefix) int { return a.Prefix.Compare(b.Prefix) })
	objects, err := o.openPinned()
	if err != nil {
		return found, err
	}
	defer objects.close()
	settings, err := objects.settings()
	if err != nil {
		return found, err
	}
	found.Strict, found.TunnelIfindex = settings.Strict != 0, settings.TunnelIfindex
	found.VXLANPorts, found.GenevePorts = nonZero(settings.VxlanPorts[:]), nonZero(settings.GenevePorts[:])
	if found.Verdicts, err = objects.verdicts(); err != nil {
		return found, err
	}
	found.Peers, err = objects.peerCounts(s.names)
	slices.SortFunc(found.Peers, func(a, b PeerCounts) int { return cmp.Compare(a.Name, b.Name) })
	return found, err
}

func nonZero(ports []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(ports), func(p uint16) bool { return p == 0 })
}

// openPinned opens the pinned maps of settings and counters, to read alone.
func (o Options) openPinned() (*pinnedMaps, error) {
	p := &pinnedMaps{}
	for name, at := range map[string]**ebpf.Map{bpf.SteerMapSettings: &p.Settings, bpf.SteerMapVerdicts: &p.Verdicts, bpf.SteerMapPeers: &p.Peers} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(o.pins(), "maps", name), &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			p.close()
			return nil, fmt.Errorf("open the pinned map %s: %w", name, err)
		}
		*at = m
	}
	return p, nil
}

// pinnedMaps are objects of which only the maps above are there.
type pinnedMaps struct{ objects }

func (p *pinnedMaps) close() {
	for _, m := range []*ebpf.Map{p.Settings, p.Verdicts, p.Peers} {
		m.Close() // was read alone, and may be nil
	}
}

// InspectPrograms looks at the pins and at what is on each device.
func InspectPrograms(options Options) (found InspectedPrograms, err error) {
	o, err := options.validated()
	if err != nil {
		return found, err
	}
	found.Missing, _ = o.missingPins()
	for _, dir := range []string{"maps", "links"} {
		entries, err := os.ReadDir(filepath.Join(o.pins(), dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return found, fmt.Errorf("list the pins: %w", err)
		}
		for _, e := range entries {
			found.Pins = append(found.Pins, inspectPin(filepath.Join(o.pins(), dir, e.Name()), dir == "links"))
		}
	}
	n, err := readNetwork(o.RouteProtocol)
	if err != nil {
		return found, err
	}
	for _, d := range n.devices {
		if seen := o.inspectDevice(d); seen.Index != 0 {
			found.Devices = append(found.Devices, seen)
		}
	}
	return found, nil
}

func inspectPin(path string, isLink bool) InspectedPin {
	pin := InspectedPin{Path: path}
	fail := func(err error) InspectedPin { pin.Error = oneLine(err); return pin }
	if !isLink {
		m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			return fail(err)
		}
		defer m.Close()
		pin.Type, pin.MaxEntries = m.Type().String(), m.MaxEntries()
		return pin
	}
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return fail(err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return fail(err)
	}
	pin.Program = uint32(info.Program)
	if tcx := info.TCX(); tcx != nil {
		pin.Ifindex = tcx.Ifindex
	}
	return pin
}

// inspectDevice has no index where nothing is on the device.
func (o Options) inspectDevice(d device) InspectedDevice {
	seen := InspectedDevice{Name: d.name}
	for _, side := range []struct {
		hook
		tcx, filters *[]string
	}{
		{hook{d.index, false}, &seen.TCXEgress, &seen.FiltersEgress},
		{hook{d.index, true}, &seen.TCXIngress, &seen.FiltersIngress},
	} {
		var err error
		if *side.tcx, err = tcxChain(side.hook, nil); err != nil && !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EINVAL) { // before Linux 6.6
			seen.Errors = append(seen.Errors, oneLine(err))
		}
		if *side.filters, err = filterChain(side.hook, nobody); err != nil {
			seen.Errors = append(seen.Errors, oneLine(err))
		}
	}
	if len(seen.TCXEgress)+len(seen.TCXIngress)+len(seen.FiltersEgress)+len(seen.FiltersIngress)+len(seen.Errors) > 0 {
		seen.Index = d.index
	}
	return seen
}

// nobody is the owner of no filter: a name of ours has no space.
const nobody = " "
