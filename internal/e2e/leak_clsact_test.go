package e2e_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// mechanism is how wgsteer attaches its programs.
type mechanism string

const (
	tcx    mechanism = "tcx"
	clsact mechanism = "clsact" // alone, as before Linux 6.6
)

// binary is a wgsteer that attaches so on this kernel.
func (m mechanism) binary(t *testing.T) string {
	t.Helper()
	_, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXEgress})
	switch has := err == nil; {
	case m == tcx && !has:
		privtest.Missing(t, "this test needs a kernel with tcx (Linux 6.6)")
	case m == tcx || !has:
		return plain
	case builds == "":
		t.Skip("the wgsteer that was given to this test attaches by tcx here")
	}
	binary, err := forced()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// forced builds the wgsteer that attaches by clsact alone.
var forced = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(builds, "wgsteer-clsact")
	return binary, build(binary, "-ldflags=-X main.forceClsact=true")
})

// removeFilter removes the filter of a device of node-a in whose place there is a link
// of that pin by tcx.
func (s *scene) removeFilter(device, pin string) {
	s.t.Helper()
	direction, program, _ := strings.Cut(pin, "-")
	if device == s.a().Interface {
		program = "tunnel"
	}
	out, err := s.a().Command(s.t.Context(), "tc", "filter", "show", "dev", device, direction).CombinedOutput()
	if err != nil {
		s.t.Fatalf("list the filters of %s: %v\n%s", device, err, out)
	}
	handle := regexp.MustCompile(`handle (0x[0-9a-f]+) wgsteer/[^/ ]+/` + program + `_`).FindSubmatch(out)
	if handle == nil {
		s.t.Fatalf("%s is not on the %s of %s:\n%s", program, direction, device, out)
	}
	s.sh("tc filter delete dev " + device + " " + direction + " pref 1 handle " + string(handle[1]) + " bpf")
}
