package steering

import (
	"maps"
	"runtime"
	"slices"
	"strings"
)

// The parts that a reconciliation makes stand: each is told to s.repairs.

// attach makes sure of one program. A backstop that cannot be had is no failure: the
// guard ahead of it stands, and Status tells.
func (s *Steering) attach(at attachment) error {
	runtime.Gosched() // packets go first
	changed, err := s.attacher.attach(at, s.objects.programs[at.program])
	if at.role == roleBackstop {
		s.lack(at.String(), err)
		if err != nil {
			return s.wrote(changed, nil)
		}
	}
	if err == nil && at.by(s.attacher.mechanism) != "" {
		put := changed > 0 && !s.attacher.moved[at.slot] // what we move ourselves is no repair
		delete(s.attacher.moved, at.slot)
		s.repairs.stand(part{layer: layerProgram, name: at.String(), device: at.device}, put, s.options.Now())
	}
	return s.wrote(changed, err)
}

// routes makes sure of our routes.
func (s *Steering) routes(want map[routeKey]routeTarget) error {
	s.routed = want
	put, removed, err := s.host.setRoutes(want)
	if err == nil {
		for key, target := range want {
			s.repairs.stand(part{layer: layerRoute, device: target.device, prefix: key.dst}, put[key], s.options.Now())
		}
	}
	return s.wrote(len(put)+removed, err)
}

// addresses makes sure of ours on the tunnel device.
func (s *Steering) addresses(index int) error {
	want := s.state.addresses()
	put, removed, err := setAddresses(index, want)
	if err == nil {
		for p := range want {
			s.repairs.stand(part{layer: layerAddress, device: index, prefix: p}, put[p], s.options.Now())
		}
	}
	return s.wrote(len(put)+removed, err)
}

// pinMaps makes sure of the maps' pins.
func (s *Steering) pinMaps() error {
	s.objects.missPins(s.options.pins())
	missing := map[string]bool{}
	for name := range s.objects.unpinned {
		missing[name] = true
	}
	pinned, err := s.objects.pinMaps(s.options.pins())
	if err == nil {
		for name := range s.objects.maps() {
			s.repairs.stand(part{layer: layerPin, name: name}, missing[name], s.options.Now())
		}
	}
	return s.wrote(pinned, err)
}

// lack notes, in this reconciliation, a layer, or a part of one, that cannot be had here
// while the others stand; no err, no lack.
func (s *Steering) lack(layer string, err error) {
	if err == nil {
		return
	}
	s.lacks[layer] = oneLine(err)
	if s.lacks[layer] != s.lacked[layer] {
		s.options.Logger.Error("a layer is missing, or a part of it", "layer", layer, "error", s.lacks[layer])
	}
}

// lacking says which layers cannot be had, "" when there is none.
func (s *Steering) lacking() string {
	var all []string
	for _, layer := range slices.Sorted(maps.Keys(s.lacks)) {
		all = append(all, s.lacks[layer])
	}
	return strings.Join(all, "; ")
}
