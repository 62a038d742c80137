package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/kernel"
	"github.com/wgsteer/wgsteer/tunnel/tundev"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
)

// TestDocsNameEveryReason: a reason that a counter shows is explained.
func TestDocsNameEveryReason(t *testing.T) {
	text, err := os.ReadFile("../../docs/drops.md")
	if err != nil {
		t.Fatal(err)
	}
	reasons := append(tundev.Reasons(), udpbind.Reasons()...)
	reasons = append(reasons, kernel.Reasons()...)
	reasons = append(reasons, userspace.DropEngineIn, userspace.DropEngineOut)
	for r := bpf.Reason(0); r.Doc() != ""; r++ {
		reasons = append(reasons, tunnel.DropReason(r.String()))
	}
	if len(reasons) < 30 {
		t.Fatalf("only %d reasons: does this test still find them?", len(reasons))
	}
	for _, r := range reasons {
		if !strings.Contains(string(text), "`"+string(r)+"`") {
			t.Errorf("docs/drops.md does not explain %s", r)
		}
	}
}

// TestDocsNameFilesThatExist: ARCHITECTURE.md and README.md stay true when
// files move.
func TestDocsNameFilesThatExist(t *testing.T) {
	named := regexp.MustCompile("`((?:[a-z0-9_*.-]+/)+[A-Za-z0-9_*.-]*)`")
	for _, doc := range []string{"ARCHITECTURE.md", "README.md"} {
		text, err := os.ReadFile("../../" + doc)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			files, err := filepath.Glob("../../" + m[1])
			if err != nil {
				t.Fatal(err)
			}
			if len(files) > 0 {
				found++
			} else if !strings.Contains(m[1], "bpffs/") && !strings.Contains(m[1], "state") {
				t.Errorf("%s names %s, which does not exist", doc, m[1])
			}
		}
		if found == 0 {
			t.Errorf("%s names no file: does this test still find them?", doc)
		}
	}
}
