package steering

import (
	"cmp"
	"slices"
	"strings"
)

// uplinks are the devices that are found and those that have the names, but for
// overlay devices.
func (n network) uplinks(want sought, names []string) []Device {
	byRoute, byName := n.find(want), selection{}
	if len(names) > 0 {
		want.named = names
		byName = n.find(want)
	}
	var found []Device
	for _, s := range []selection{byRoute, byName} {
		for _, t := range s.targets {
			if !t.overlay {
				found = append(found, t.Device)
			}
		}
	}
	// The reason by route is the one that stays.
	slices.SortStableFunc(found, func(a, b Device) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Index, b.Index))
	})
	return slices.CompactFunc(found, func(a, b Device) bool { return a.Index == b.Index })
}
