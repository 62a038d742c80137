package main

import (
	"os"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/tunnel"
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
