package steering

import (
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
)

// filtersToHead puts ours, the guard first, ahead of all filters of their hook, and none
// of them is missing for a moment: each is added once more before the older one goes. All
// are added as the one that comes first, steer, for a new filter is ahead of those there
// are; the guard takes its place behind it by replacement. So it is never ahead of steer,
// where it would drop what that one redirects.
func (a *attacher) filtersToHead(ours []attachment, programs map[string]program) (changed int, err error) {
	h, first := ours[0].hook, ours[len(ours)-1]
	before, err := deviceFilters(h.device, h.parent())
	if err != nil {
		return 0, err
	}
	handles := make([]uint32, len(ours))
	for i, at := range ours {
		present, err := deviceFilters(h.device, h.parent())
		if err != nil {
			return changed, err
		}
		handles[i] = freeHandle(present, a.owner, at.role)
		n, err := a.putFilter(first, programs[first.program], handles[i])
		changed += n
		if err != nil {
			return changed, err
		}
	}
	for i, at := range ours[:len(ours)-1] {
		n, err := a.putFilter(at, programs[at.program], handles[i])
		changed += n
		if err != nil {
			return changed, err
		}
	}
	removed, err := removeFilters(a.ofOurs(before))
	return changed + removed, err
}

// filterChain are the filters of a hook that packets meet, by name, in their order; "" for
// those of owner.
func filterChain(h hook, owner string) (names []string, err error) {
	filters, err := deviceFilters(h.device, h.parent())
	if err != nil {
		return nil, err
	}
	for _, f := range filters {
		if chain := f.Attrs().Chain; chain != nil && *chain != 0 {
			continue // met by those alone whom another filter sends there
		}
		name := fmt.Sprintf("%s filter with priority %d", f.Type(), f.Attrs().Priority)
		if b, ok := f.(*netlink.BpfFilter); ok {
			name = fmt.Sprintf("%s (program %d of a %s)", b.Name, b.Id, name)
			if strings.HasPrefix(b.Name, owner) {
				name = ""
			}
		}
		names = append(names, name)
	}
	return names, nil
}
