package keymgr

import (
	"fmt"
	"time"
)

// maxKeepalive is the longest interval that WireGuard's 16 bits of seconds hold.
const maxKeepalive = 65535 * time.Second

// ParseKeepalive reads whole seconds, as WireGuard keeps them.
func ParseKeepalive(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is not a duration such as 25s", Quote(s))
	case d < 0 || d > maxKeepalive:
		return 0, fmt.Errorf("%s is not between 0s and %ds", Quote(s), int(maxKeepalive.Seconds()))
	case d%time.Second != 0:
		return 0, fmt.Errorf("%s is not a whole number of seconds", Quote(s))
	}
	return d, nil
}
