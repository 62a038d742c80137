package steering

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// attacher keeps programs attached. What one mechanism left behind is removed
// when the other has taken its place.
type attacher struct {
	links     string // directory of the links' pins
	owner     string // first part of our filters' names
	mechanism string
	held      map[hook]link.Link // open links
	filters   map[hook]bool      // filters of ours that there are
}

func newAttacher(o Options) (*attacher, error) {
	a := &attacher{
		links:     filepath.Join(o.pins(), "links"),
		owner:     filterOwner(o.Name),
		mechanism: mechanismTCX,
		held:      map[hook]link.Link{},
		filters:   map[hook]bool{},
	}
	if o.ForceClsact {
		a.mechanism = mechanismClsact
	}
	found, err := listFilters(a.owner)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		a.filters[filterHook(f)] = true
	}
	return a, nil
}

// attach makes sure that program is attached there, alone of ours and as the
// first of all where it is new. It says how much it changed.
func (a *attacher) attach(at attachment, program *ebpf.Program) (changed int, err error) {
	if a.mechanism == mechanismTCX {
		changed, err = a.attachTCX(at.hook, program)
		if errors.Is(err, ebpf.ErrNotSupported) { // before Linux 6.6
			a.mechanism = mechanismClsact
		}
	}
	if a.mechanism == mechanismClsact {
		changed, err = a.attachClsact(at, program)
	}
	if err != nil {
		return changed, fmt.Errorf("attach %s to the %s of %s by %s: %w", at.program, at.direction(), at.name, a.mechanism, err)
	}
	other, err := a.detachOther(at.hook)
	return changed + other, err
}

// detachOther removes what the other mechanism has on h.
func (a *attacher) detachOther(h hook) (int, error) {
	if a.mechanism == mechanismTCX {
		return a.detachClsact(h)
	}
	return a.detachTCX(h)
}

// devices are the indexes of those that ours are attached to, the tunnel device
// among them; some may be gone.
func (a *attacher) devices() (map[int]bool, error) {
	pinned, err := pinnedHooks(a.links)
	if err != nil {
		return nil, err
	}
	held := map[int]bool{}
	for _, h := range pinned {
		held[h.device] = true
	}
	for h := range a.filters {
		held[h.device] = true
	}
	return held, nil
}

// keepOnly detaches all of ours but what is on the wanted hooks.
func (a *attacher) keepOnly(wanted map[hook]bool) (changed int, err error) {
	pinned, err := pinnedHooks(a.links)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, h := range pinned {
		if !wanted[h] {
			n, err := a.detachTCX(h)
			changed += n
			errs = append(errs, err)
		}
	}
	for h := range a.filters {
		if !wanted[h] {
			n, err := a.detachClsact(h)
			changed += n
			errs = append(errs, err)
		}
	}
	return changed, errors.Join(errs...)
}

// close lets go of the links; those that are pinned stay.
func (a *attacher) close() {
	for h, l := range a.held {
		l.Close()
		delete(a.held, h)
	}
}
