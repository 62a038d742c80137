package steering

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// filterPriority puts our filters before those of greater priority numbers; a
// newer filter of the same priority and kind comes before an older one
// (cls_bpf_change in net/sched/cls_bpf.c), so steer is added after the guard.
const filterPriority = 1

// filterOwner begins the names of one tunnel device's filters.
func filterOwner(name string) string { return "wgsteer/" + name + "/" }

// filterHandle tells the filters of several tunnel devices, and roles, apart.
func filterHandle(owner string, r role) uint32 {
	h := fnv.New32a()
	h.Write([]byte(owner + string(r)))
	return h.Sum32()&0x7fffffff | 1
}

// attachClsact makes sure of a filter with program on the device's clsact qdisc.
// One that is there is replaced atomically. A guard that is new is ahead of steer,
// and would drop what that one is to redirect: steer has to be put there anew.
func (a *attacher) attachClsact(at attachment, program program) (changed int, err error) {
	present, err := deviceFilters(at.device, at.parent())
	if err != nil {
		return 0, err
	}
	isNew := true
	for _, f := range present {
		own, ok := f.(*netlink.BpfFilter)
		if !ok || own.Name != a.owner+at.program {
			continue
		}
		isNew = false
		if own.Id == int(program.id) {
			a.filters[at.slot] = true
			return 0, nil
		}
	}
	changed, err = a.addFilter(at, program)
	if err == nil && isNew && at.role == roleGuard {
		behind := slot{at.hook, roleSteer}
		var gone int
		gone, err = a.detachClsact(behind)
		a.moved[behind] = gone > 0
		changed += gone
	}
	return changed, err
}

// addFilter adds a filter, and the qdisc where there is none, or replaces the filter.
func (a *attacher) addFilter(at attachment, program program) (changed int, err error) {
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
			Handle:    filterHandle(a.owner, at.role),
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
	for _, f := range present {
		own, ok := f.(*netlink.BpfFilter)
		if !ok || !strings.HasPrefix(own.Name, a.owner) || filterSlot(own, a.owner) != s {
			continue
		}
		if err := netlink.FilterDel(own); err != nil {
			return changed, fmt.Errorf("remove the filter %s of device %d: %w", own.Name, s.device, err)
		}
		changed++
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
