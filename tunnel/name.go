package tunnel

import (
	"fmt"
	"strings"
)

// maxName is the longest name of a link in bytes: the kernel's IFNAMSIZ has 16, with
// the 0 at its end.
const maxName = 15

// CheckName refuses what the kernel refuses as the name of a link (dev_valid_name), and
// "%", of which it would make a number.
func CheckName(name string) error {
	if name == "" || len(name) > maxName || name == "." || name == ".." || strings.ContainsAny(name, "/:% \t\n\v\f\r") {
		return fmt.Errorf("interface name %q: has to have 1 to %d characters, none of them a space, \"/\", \":\" or \"%%\"", name, maxName)
	}
	return nil
}
