package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// attachTCX makes sure of a pinned link with program in a slot. A link that is there
// has its program replaced atomically; one that is on no device of this
// namespace any more is given up.
func (a *attacher) attachTCX(s slot, program program) (changed int, err error) {
	l, err := a.openLink(s)
	if err != nil {
		return 0, err
	}
	if l != nil {
		on, err := linkOn(s.hook, l)
		if err != nil {
			return 0, err
		}
		if !on {
			if changed, err = a.detachTCX(s); err != nil {
				return changed, err
			}
			l = nil
		}
	}
	if l == nil {
		anchor, err := a.anchor(s)
		if err != nil {
			return changed, err
		}
		l, err = link.AttachTCX(link.TCXOptions{Interface: s.device, Program: program.Program, Attach: s.attachType(), Anchor: anchor})
		if err != nil {
			return changed, err
		}
		a.held[s] = l
		changed++
	}
	updated, err := updateLink(l, program)
	if err != nil {
		return changed, err
	}
	pinned, err := a.pinLink(s, l)
	return changed + updated + pinned, err
}

// anchor is where a new link goes: to the head; a guard behind steer, if that is
// there, for ahead of it the guard would drop what steer is to redirect.
func (a *attacher) anchor(s slot) (link.Anchor, error) {
	if s.role != roleGuard {
		return link.Head(), nil
	}
	ahead := slot{s.hook, roleSteer}
	l, err := a.openLink(ahead)
	if err != nil || l == nil {
		return link.Head(), err
	}
	on, err := linkOn(ahead.hook, l)
	if err != nil || !on {
		return link.Head(), err
	}
	return link.AfterLink(l), nil
}

// openLink is the link in a slot, nil if there is none.
func (a *attacher) openLink(s slot) (link.Link, error) {
	if l := a.held[s]; l != nil {
		return l, nil
	}
	l, err := link.LoadPinnedLink(filepath.Join(a.links, s.pin()), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned link %s: %w", s.pin(), err)
	}
	a.held[s] = l
	return l, nil
}

// linkOn says whether l is attached to h's device in this network namespace: the
// device may be gone, and its index be another's.
func linkOn(h hook, l link.Link) (bool, error) {
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("ask for the link on the %s of device %d: %w", h.direction(), h.device, err)
	}
	attached, err := link.QueryPrograms(link.QueryOptions{Target: h.device, Attach: h.attachType()})
	if err != nil {
		return false, err
	}
	for _, p := range attached.Programs {
		if id, ok := p.LinkID(); ok && id == info.ID {
			return true, nil
		}
	}
	return false, nil
}

// requireOwnNamespace is an error if a pinned link is attached to a device of
// another network namespace: these pins are that one's guard.
func (a *attacher) requireOwnNamespace() error {
	pinned, _, err := pinnedSlots(a.links)
	if err != nil {
		return err
	}
	for _, s := range pinned {
		l, err := a.openLink(s)
		if err != nil {
			return err
		}
		info, err := l.Info()
		if err != nil {
			return fmt.Errorf("ask for link %s: %w", s.pin(), err)
		}
		tcx := info.TCX()
		if tcx == nil || tcx.Ifindex == 0 {
			continue // its device is gone
		}
		if on, err := linkOn(s.hook, l); !on || err != nil { // no such device here
			return fmt.Errorf("the pins in %s guard another network namespace: give this one another interface name or bpffs directory", filepath.Dir(a.links))
		}
	}
	return nil
}

// intact says whether all links are pinned, and attached where they were. One whose
// device is gone is no longer, until it is given up.
func (a *attacher) intact() bool {
	for s, l := range a.held {
		info, err := l.Info()
		if err != nil || info.TCX() == nil || int(info.TCX().Ifindex) != s.device {
			return false
		}
		if _, err := os.Lstat(filepath.Join(a.links, s.pin())); err != nil {
			return false
		}
	}
	return true
}

// updateLink makes program that of l.
func updateLink(l link.Link, program program) (int, error) {
	info, err := l.Info()
	if err != nil {
		return 0, err
	}
	if info.Program == program.id {
		return 0, nil
	}
	return 1, l.Update(program.Program)
}

// pinLink pins l if it is not, or if somebody removed the pin.
func (a *attacher) pinLink(s slot, l link.Link) (int, error) {
	path := filepath.Join(a.links, s.pin())
	if _, err := os.Lstat(path); err == nil {
		return 0, nil
	}
	if err := makePinsOf(filepath.Split(a.links)); err != nil {
		return 0, err
	}
	if err := l.Unpin(); err != nil {
		return 0, err
	}
	return 1, l.Pin(path)
}

// detachTCX removes the link in a slot, if there is one, and its pin.
func (a *attacher) detachTCX(s slot) (int, error) {
	l, err := a.openLink(s)
	if err != nil || l == nil {
		return 0, err
	}
	if err := os.Remove(filepath.Join(a.links, s.pin())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("remove the pin of a link: %w", err)
	}
	delete(a.held, s)
	// Detach fails where the device is gone, and the link with it. An older
	// process may hold the link open, so closing is not enough.
	_ = l.Detach()
	return 1, l.Close()
}

// pinnedSlots are those with a pin in dir. What has another name there is somebody else's:
// it is left alone, and its path returned.
func pinnedSlots(dir string) (slots []slot, strange []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list the pinned links: %w", err)
	}
	for _, e := range entries {
		if s, ok := slotOf(e.Name()); ok {
			slots = append(slots, s)
		} else {
			strange = append(strange, filepath.Join(dir, e.Name()))
		}
	}
	return slots, strange, nil
}

func (h hook) attachType() ebpf.AttachType {
	if h.ingress {
		return ebpf.AttachTCXIngress
	}
	return ebpf.AttachTCXEgress
}
