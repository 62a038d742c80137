package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// threaded says what is known against threaded NAPI where the link has it; "" where
// it has not, or where that cannot be told: only sysfs tells it, and one that is
// mounted in another network namespace shows other links.
//
// The fault: under load the receiving side of one peer may stop for good; only a
// new peer or link helps. Kernels that make links so by themselves
// (db9ae3b6b43c of Linux 6.16, also in some stable ones until it was reverted) and
// those told to have it alike: CVE-2026-52945, cilium/cilium#46687. As of
// November 2026; this can go when no supported kernel has it.
func (t *Tunnel) threaded(d *device) string {
	dir := filepath.Join(t.options.Sysfs, "class", "net", d.name)
	if fact(dir, "ifindex") != strconv.Itoa(d.index) || fact(dir, "ifalias") != Mark {
		return ""
	}
	return threadedNote(d.name, fact(dir, "threaded"))
}

func threadedNote(name, value string) string {
	if value == "" || value == "0" {
		return ""
	}
	return fmt.Sprintf("threaded NAPI is on (%s), with which some kernels stop to hear a peer for good (CVE-2026-52945); turn it off with: echo 0 > /sys/class/net/%s/threaded", value, name)
}

// fact reads one file of a link, "" where it cannot.
func fact(dir, name string) string {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
