package e2e_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// previous is the last commit before records could also be kept in Kubernetes.
const previous = "71c4844c4baaa080125d946223a3b9dac4f2e565"

// TestMixedVersions: nodes of the previous version and of this one, in either order of
// upgrade, read each other's records, and their pods talk encrypted.
func TestMixedVersions(t *testing.T) {
	older := buildPrevious(t)
	c := bare(t, checked, netlab.Options{Nodes: 3})
	if w := c.watch(func() { c.mustFlow(c.Flows()...) }); w.PlaintextPod.Frames == 0 {
		t.Fatalf("the capture sees no plaintext without a data plane: %+v", w)
	}
	newer := c.binary
	for node, binary := range map[string]string{"node-a": older, "node-b": newer, "node-c": older} {
		c.binary = binary
		c.start(node)
	}
	talk := func() {
		t.Helper()
		for _, n := range c.Nodes {
			c.awaitSessions(n.Name)
		}
		c.encrypted(func() { c.mustFlow(c.Flows()...) })
	}
	talk()
	c.encrypted(func() {
		c.kill("node-a")
		c.binary = newer
		c.start("node-a") // upgraded
		c.kill("node-b")
		c.binary = older
		c.start("node-b") // and back
		talk()
	})
}

// buildPrevious builds the previous version's wgsteer.
func buildPrevious(t *testing.T) string {
	t.Helper()
	if builds == "" {
		t.Skip("the binaries were built elsewhere (WGSTEER_BINARY)")
	}
	if out, err := exec.Command("git", "rev-parse", "--verify", previous+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("this clone has no commit %s, the previous version (a shallow one gets it by git fetch --unshallow): %v\n%s", previous, err, out)
	}
	tree := t.TempDir()
	script := fmt.Sprintf("git -C ../.. archive %s | tar -x -C '%s'", previous, tree)
	if out, err := exec.Command("bash", "-o", "pipefail", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	binary := filepath.Join(builds, "wgsteer-previous")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/wgsteer")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the previous version: %v\n%s", err, strings.TrimSpace(string(out)))
	}
	return binary
}
