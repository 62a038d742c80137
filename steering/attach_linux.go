package steering

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// attacher keeps programs attached. What one mechanism left behind is removed
// when the other has taken its place.
type attacher struct {
	links     string // directory of the links' pins
	owner     string // first part of our filters' names
	mechanism string
	held      map[slot]link.Link // open links
	filters   map[slot]bool      // filters of ours that there are
	moved     map[slot]bool      // filters that we put elsewhere in the chain
	overtook  map[hook][]string  // others' programs that ours were put ahead of, see lead
}

func newAttacher(o Options) (*attacher, error) {
	a := &attacher{
		links:     o.links(),
		owner:     filterOwner(o.Name),
		mechanism: mechanismTCX,
		held:      map[slot]link.Link{},
		filters:   map[slot]bool{},
		moved:     map[slot]bool{},
		overtook:  map[hook][]string{},
	}
	if o.ForceClsact {
		a.mechanism = mechanismClsact
	}
	found, err := listFilters(a.owner)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		a.filters[filterSlot(f, a.owner)] = true
	}
	return a, nil
}

// attach makes sure that program is attached there, alone of ours, and ahead of all
// others where it is new, but for a guard, which is behind steer. It says how much it
// changed.
func (a *attacher) attach(at attachment, program program) (changed int, err error) {
	by := at.by(a.mechanism)
	if by == mechanismTCX {
		changed, err = a.attachTCX(at.slot, program)
		if errors.Is(err, ebpf.ErrNotSupported) { // before Linux 6.6
			a.mechanism = mechanismClsact
			by = at.by(a.mechanism)
		}
	}
	if by == mechanismClsact {
		changed, err = a.attachClsact(at, program)
	}
	if err != nil {
		return changed, fmt.Errorf("attach %s to the %s of %s by %s: %w", at.program, at.direction(), at.name, by, err)
	}
	other, err := a.detachOther(at.slot, by)
	return changed + other, err
}

// detachOther removes what other mechanisms have in a slot.
func (a *attacher) detachOther(s slot, than string) (changed int, err error) {
	if than != mechanismTCX {
		changed, err = a.detachTCX(s)
	}
	if than != mechanismClsact && err == nil {
		var more int
		more, err = a.detachClsact(s)
		changed += more
	}
	return changed, err
}

// devices are the indexes of those that ours are attached to, the tunnel device
// among them; some may be gone.
func (a *attacher) devices() (map[int]bool, error) {
	pinned, _, err := pinnedSlots(a.links)
	if err != nil {
		return nil, err
	}
	held := map[int]bool{}
	for _, s := range pinned {
		held[s.device] = true
	}
	for s := range a.filters {
		held[s.device] = true
	}
	return held, nil
}

// keepOnly detaches all of ours but what is in the wanted slots.
func (a *attacher) keepOnly(wanted map[slot]bool) (changed int, err error) {
	pinned, _, err := pinnedSlots(a.links)
	if err != nil {
		return 0, err
	}
	for s := range a.held { // some may have lost their pins
		if !slices.Contains(pinned, s) {
			pinned = append(pinned, s)
		}
	}
	var errs []error
	for _, s := range pinned {
		if !wanted[s] {
			n, err := a.detachTCX(s)
			changed += n
			errs = append(errs, err)
		}
	}
	for s := range a.filters {
		if !wanted[s] {
			n, err := a.detachClsact(s)
			changed += n
			errs = append(errs, err)
		}
	}
	return changed, errors.Join(errs...)
}

// close lets go of the links; those that are pinned stay.
func (a *attacher) close() {
	for s, l := range a.held {
		l.Close()
		delete(a.held, s)
	}
}
