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

// attachTCX makes sure of a pinned link with program on h. A link that is there
// has its program replaced atomically; one that is on no device of this
// namespace any more is given up.
func (a *attacher) attachTCX(h hook, program *ebpf.Program) (changed int, err error) {
	l, err := a.openLink(h)
	if err != nil {
		return 0, err
	}
	if l != nil {
		on, err := linkOn(h, l)
		if err != nil {
			return 0, err
		}
		if !on {
			if changed, err = a.detachTCX(h); err != nil {
				return changed, err
			}
			l = nil
		}
	}
	if l == nil {
		l, err = link.AttachTCX(link.TCXOptions{Interface: h.device, Program: program, Attach: h.attachType(), Anchor: link.Head()})
		if err != nil {
			return changed, err
		}
		a.held[h] = l
		changed++
	}
	updated, err := updateLink(l, program)
	if err != nil {
		return changed, err
	}
	pinned, err := a.pinLink(h, l)
	return changed + updated + pinned, err
}

// openLink is the link on h, nil if there is none.
func (a *attacher) openLink(h hook) (link.Link, error) {
	if l := a.held[h]; l != nil {
		return l, nil
	}
	l, err := link.LoadPinnedLink(filepath.Join(a.links, h.pin()), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned link %s: %w", h.pin(), err)
	}
	a.held[h] = l
	return l, nil
}

// linkOn says whether l is attached to h's device in this network namespace: the
// device may be gone, and its index be another's.
func linkOn(h hook, l link.Link) (bool, error) {
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("ask for link %s: %w", h.pin(), err)
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
	pinned, err := pinnedHooks(a.links)
	if err != nil {
		return err
	}
	for _, h := range pinned {
		l, err := a.openLink(h)
		if err != nil {
			return err
		}
		info, err := l.Info()
		if err != nil {
			return fmt.Errorf("ask for link %s: %w", h.pin(), err)
		}
		tcx := info.TCX()
		if tcx == nil || tcx.Ifindex == 0 {
			continue // its device is gone
		}
		if on, err := linkOn(h, l); !on || err != nil { // no such device here
			return fmt.Errorf("the pins in %s guard another network namespace: give this one another interface name or bpffs directory", filepath.Dir(a.links))
		}
	}
	return nil
}

// updateLink makes program that of l.
func updateLink(l link.Link, program *ebpf.Program) (int, error) {
	info, err := l.Info()
	if err != nil {
		return 0, err
	}
	own, err := program.Info()
	if err != nil {
		return 0, err
	}
	if id, ok := own.ID(); ok && id == info.Program {
		return 0, nil
	}
	return 1, l.Update(program)
}

// pinLink pins l if it is not, or if somebody removed the pin.
func (a *attacher) pinLink(h hook, l link.Link) (int, error) {
	path := filepath.Join(a.links, h.pin())
	if _, err := os.Lstat(path); err == nil {
		return 0, nil
	}
	if err := os.MkdirAll(a.links, 0o700); err != nil {
		return 0, fmt.Errorf("make the pin directory: %w", err)
	}
	if err := l.Unpin(); err != nil {
		return 0, err
	}
	return 1, l.Pin(path)
}

// detachTCX removes the link on h, if there is one, and its pin.
func (a *attacher) detachTCX(h hook) (int, error) {
	l, err := a.openLink(h)
	if err != nil || l == nil {
		return 0, err
	}
	if err := os.Remove(filepath.Join(a.links, h.pin())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("remove the pin of a link: %w", err)
	}
	delete(a.held, h)
	// Detach fails where the device is gone, and the link with it. An older
	// process may hold the link open, so closing is not enough.
	_ = l.Detach()
	return 1, l.Close()
}

// pinnedHooks are those with a pin in dir.
func pinnedHooks(dir string) ([]hook, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the pinned links: %w", err)
	}
	var hooks []hook
	for _, e := range entries {
		h, err := hookOf(e.Name())
		if err != nil {
			return nil, fmt.Errorf("in %s: %w", dir, err)
		}
		hooks = append(hooks, h)
	}
	return hooks, nil
}

func (h hook) attachType() ebpf.AttachType {
	if h.ingress {
		return ebpf.AttachTCXIngress
	}
	return ebpf.AttachTCXEgress
}
