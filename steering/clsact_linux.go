package steering

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// filterPriority puts our filters before those of greater priority numbers; a
// newer filter of the same priority and kind comes before an older one
// (cls_bpf_change in net/sched/cls_bpf.c), so steer is added after the guard. There is
// no lesser number, and no other kind nor protocol beside ours of the same.
const filterPriority = 1

// filterOwner begins the names of one tunnel device's filters.
func filterOwner(name string) string { return "wgsteer/" + name + "/" }

// freeHandle is one for a filter beside those present: of another tunnel device's, of
// another role, and of an older one in the same slot. What is ours is known by name.
func freeHandle(present []netlink.Filter, owner string, r role) uint32 {
	h := fnv.New32a()
	h.Write([]byte(owner + string(r)))
	handle := h.Sum32()&0x7fffffff | 1
	for slices.ContainsFunc(present, func(f netlink.Filter) bool { return f.Attrs().Handle == handle }) {
		handle += 2
	}
	return handle
}

// attachClsact makes sure of one filter with program on the device's clsact qdisc.
// One that is there is replaced atomically. A guard that is new is ahead of steer,
// and would drop what that one is to redirect: steer is put there anew.
func (a *attacher) attachClsact(at attachment, program program) (changed int, err error) {
	present, err := deviceFilters(at.device, at.parent())
	if err != nil {
		return 0, err
	}
	stale, behind := a.inSlot(present, at.slot)
	a.moved[at.slot] = behind
	switch {
	case len(stale) == 0 || behind:
		changed, err = a.putFilter(at, program, freeHandle(present, a.owner, at.role))
	case stale[0].Name != a.owner+at.program || stale[0].Id != int(program.id):
		changed, err = a.putFilter(at, program, stale[0].Handle)
		stale = stale[1:]
	default:
		a.filters[at.slot] = true
		stale = stale[1:]
	}
	if err != nil {
		return changed, err
	}
	removed, err := removeFilters(stale)
	return changed + removed, err
}

// inSlot are our filters in a slot, the first one first: several where a process died while
// it moved them. It says whether the first is steer, and behind a guard of ours.
func (a *attacher) inSlot(present []netlink.Filter, s slot) (own []*netlink.BpfFilter, behind bool) {
	guarded := false
	for _, f := range a.ofOurs(present) {
		switch r := filterSlot(f, a.owner).role; {
		case r == s.role:
			behind = behind || len(own) == 0 && guarded && r == roleSteer
			own = append(own, f)
		case r == roleGuard:
			guarded = true
		}
	}
	return own, behind
}

// ofOurs are those filters that are ours.
func (a *attacher) ofOurs(filters []netlink.Filter) (own []*netlink.BpfFilter) {
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(b.Name, a.owner) {
			own = append(own, b)
		}
	}
	return own
}

// putFilter adds a filter, and the qdisc where there is none, or replaces the filter that
// has the handle.
func (a *attacher) putFilter(at attachment, program program, handle uint32) (changed int, err error) {
	qdisc := clsact(at.device)
	if err := netlink.QdiscAdd(qdisc); err == nil {
		changed++
	} else if !errors.Is(err, unix.EEXIST) {
		return 0, explainClsact(fmt.Errorf("add the clsact qdisc: %w", err))
	} else if err := requireClsact(at.device); err != nil {
		return 0, err
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: at.device,
			Parent:    at.parent(),
			Handle:    handle,
			Priority:  filterPriority,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           program.FD(),
		Name:         a.owner + at.program,
		DirectAction: true,
	}
	if err := netlink.FilterReplace(filter); err != nil {
		return changed, explainClsact(fmt.Errorf("add a filter: %w", err))
	}
	a.filters[at.slot] = true
	return changed + 1, nil
}

func removeFilters(filters []*netlink.BpfFilter) (removed int, err error) {
	for _, f := range filters {
		if err := netlink.FilterDel(f); err != nil {
			return removed, fmt.Errorf("remove the filter %s of device %d: %w", f.Name, f.LinkIndex, err)
		}
		removed++
	}
	return removed, nil
}

// requireClsact is an error where another qdisc is in clsact's place: the kernel
// says EEXIST all the same, and an ingress qdisc takes what is meant for egress.
func requireClsact(device int) error {
	qdiscs, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(deviceOf(device)) })
	if err != nil {
		return fmt.Errorf("list the qdiscs: %w", err)
	}
	for _, q := range qdiscs {
		if q.Attrs().Parent == netlink.HANDLE_CLSACT && q.Type() != "clsact" {
			return fmt.Errorf("another tool's %s qdisc is in the place of clsact: let that tool use clsact, which has its ingress too (`tc qdisc replace dev %s clsact`)", q.Type(), deviceName(device))
		}
	}
	return nil
}

// detachClsact removes our filter in a slot, if there is one, and the qdisc if that
// leaves it without any.
func (a *attacher) detachClsact(s slot) (changed int, err error) {
	if !a.filters[s] {
		return 0, nil
	}
	present, err := deviceFilters(s.device, s.parent())
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return 0, err
	}
	own, _ := a.inSlot(present, s)
	if changed, err = removeFilters(own); err != nil {
		return changed, err
	}
	delete(a.filters, s)
	removed, err := removeIdleClsact(s.device)
	return changed + removed, err
}

// removeIdleClsact removes the clsact qdisc of a device if nothing uses it.
func removeIdleClsact(device int) (int, error) {
	qdiscs, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(deviceOf(device)) })
	if errors.Is(err, unix.ENODEV) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("list the qdiscs of device %d: %w", device, err)
	}
	for _, q := range qdiscs {
		if q.Type() != "clsact" || q.Attrs().IngressBlock != nil {
			continue
		}
		for _, direction := range []hook{{device, true}, {device, false}} {
			left, err := deviceFilters(device, direction.parent())
			if err != nil || len(left) > 0 {
				return 0, err
			}
		}
		if err := netlink.QdiscDel(clsact(device)); err != nil {
			return 0, fmt.Errorf("remove the clsact qdisc of device %d: %w", device, err)
		}
		return 1, nil
	}
	return 0, nil
}

// listFilters lists our filters on all devices.
func listFilters(owner string) ([]*netlink.BpfFilter, error) {
	qdiscs, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(nil) })
	if err != nil {
		return nil, fmt.Errorf("list the qdiscs: %w", err)
	}
	var ours []*netlink.BpfFilter
	for _, q := range qdiscs {
		if q.Attrs().Parent != netlink.HANDLE_CLSACT { // an ingress qdisc is there too
			continue
		}
		for _, h := range []hook{{q.Attrs().LinkIndex, true}, {q.Attrs().LinkIndex, false}} {
			filters, err := deviceFilters(h.device, h.parent())
			if errors.Is(err, unix.ENODEV) {
				continue // gone since
			}
			if err != nil {
				return nil, err
			}
			for _, f := range filters {
				if own, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(own.Name, owner) {
					ours = append(ours, own)
				}
			}
		}
	}
	return ours, nil
}

// deviceFilters lists the filters of one direction of a device, in their order.
func deviceFilters(device int, parent uint32) ([]netlink.Filter, error) {
	filters, err := dump(func() ([]netlink.Filter, error) { return netlink.FilterList(deviceOf(device), parent) })
	if err != nil {
		return nil, fmt.Errorf("list the filters of device %d: %w", device, err)
	}
	return filters, nil
}

func filterSlot(f *netlink.BpfFilter, owner string) slot {
	at := hook{f.LinkIndex, f.Parent == netlink.HANDLE_MIN_INGRESS}
	return slot{at, roleOf(strings.TrimPrefix(f.Name, owner))}
}

func (h hook) parent() uint32 {
	if h.ingress {
		return netlink.HANDLE_MIN_INGRESS
	}
	return netlink.HANDLE_MIN_EGRESS
}

func clsact(device int) netlink.Qdisc {
	return &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: device, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}
}

// deviceOf names a device by its index, as the netlink library wants it.
func deviceOf(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

// explainClsact says what is missing where the kernel refuses qdisc or filter.
func explainClsact(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (the kernel needs CONFIG_NET_CLS_ACT, CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF)", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w (another tool's filter or ingress qdisc may be in its place: see `tc qdisc show` and `tc filter show`)", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (CAP_NET_ADMIN is needed)", err)
	}
	return err
}
