package main

import (
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVersion(t *testing.T) {
	info := &debug.BuildInfo{
		Main: debug.Module{Path: "github.com/wgsteer/wgsteer", Version: "v0.1.0"},
		Deps: []*debug.Module{
			{Path: wireguardModule, Version: "v0.0.0-1"},
			{Path: ebpfModule, Version: "v0.1.0", Replace: &debug.Module{Path: ebpfModule, Version: "v0.2.0"}},
			{Path: "example.com/other", Version: "v9.0.0"},
		},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}, {Key: "vcs.time", Value: "2026-05-22T12:00:00Z"}},
	}
	want := buildVersion{
		Version: "v0.1.0", Revision: "abc", Modified: true, Time: "2026-05-22T12:00:00Z",
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Modules: map[string]string{wireguardModule: "v0.0.0-1", ebpfModule: "v0.2.0"},
	}
	got := readVersion(info, true)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("version (-want +got):\n%s", diff)
	}
	var b strings.Builder
	if err := got.table(&b); err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(" +").ReplaceAllString(b.String(), " ")
	for _, line := range []string{"wgsteer v0.1.0\n", "revision abc (2026-05-22T12:00:00Z, with local changes)\n", "github.com/cilium/ebpf v0.2.0\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	if got := readVersion(nil, false); got.Version != "unknown" {
		t.Errorf("without build information: %+v", got)
	}
}
