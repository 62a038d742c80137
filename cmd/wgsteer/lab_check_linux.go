package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/wgsteer/wgsteer/dataplane"
)

// labNeeds says what this machine lacks for a lab, and how to mend it; nil when
// it has all. It is what `check` looks at but for what a lab's nodes do not
// share with the host: devices, routes, peers.
func labNeeds(backends []string) error {
	if os.Geteuid() != 0 {
		return errors.New("a lab makes network namespaces and loads eBPF programs: run it as root, with sudo for instance")
	}
	host := configuration{Plane: dataplane.Config{Interface: dataplane.DefaultInterface, BPFFS: dataplane.DefaultBPFFS}}
	shared := []string{"kernel", "capabilities", "bpffs", "bpf", "tcx"}
	var errs []error
	for _, f := range checkSteering(host) {
		if f.Level == levelFail && slices.Contains(shared, f.Name) {
			errs = append(errs, labLack(f))
		}
	}
	for i, b := range backends {
		if slices.Contains(backends[:i], b) {
			continue
		}
		for _, f := range checkBackend(dataplane.Backend(b)) {
			if f.Level == levelFail {
				errs = append(errs, labLack(f))
			}
		}
	}
	return errors.Join(errs...)
}

// labLack is a finding as an error.
func labLack(f finding) error {
	if len(f.Mend) == 0 {
		return fmt.Errorf("%s: %s", f.Name, f.Detail)
	}
	return fmt.Errorf("%s: %s; mend it with: %s", f.Name, f.Detail, strings.Join(f.Mend, "; "))
}
