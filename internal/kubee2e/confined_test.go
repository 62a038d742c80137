package kubee2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestKubelet: what runs is confined as the template says, is started again when it
// ends, and finds the node's file system as it left it.
func TestKubelet(t *testing.T) {
	c := up(t, netlab.Options{Nodes: 1})
	text, err := os.ReadFile("testdata/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, rest, err := split(text)
	if err != nil {
		t.Fatal(err)
	}
	c.set = set
	if out, err := c.api.Kubectl(t, rest, "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.register("node-a")
	c.startPod("node-a")
	ready := func(s dataplane.Status) bool { return s.Ready }
	key := c.await("node-a", "ready", ready).PublicKey
	c.confined("node-a")

	k := c.kubelets["node-a"]
	before := k.pid()
	k.kill()
	s := c.await("node-a", "ready, in another process", func(s dataplane.Status) bool { return s.Ready && k.pid() != before })
	if s.PublicKey != key {
		t.Errorf("the key was %s, and is %s after a restart", key, s.PublicKey)
	}
	out, err := k.exec("ls", "/")
	if err == nil {
		t.Errorf("an image from scratch has ls: %s", out)
	}
	if out, err = k.exec(entrypoint[0], "status"); err != nil || !strings.Contains(string(out), "node-a is ready") {
		t.Errorf("%v\n%s", err, out)
	}
	c.stopPod("node-a")
	pins := fmt.Sprintf("/proc/%d/root%s", k.host.Process.Pid, filepath.Join(k.root, "sys/fs/bpf/wgsteer"))
	if _, err := os.Stat(pins); err != nil {
		t.Errorf("the pins went with the pod: %v", err)
	}
	if _, err := os.Stat(filepath.Join(k.root, "sys/fs/bpf/wgsteer")); err == nil {
		t.Error("the node's bpffs shows in the host's mount namespace")
	}
}

// confined checks the running container of a node against its template.
func (c *cluster) confined(node string) {
	c.t.Helper()
	k := c.kubelets[node]
	read := func(name string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", k.pid(), name))
		if err != nil {
			c.t.Fatal(err)
		}
		return string(text)
	}
	var mask uint64
	numbers := map[corev1.Capability]uint{"NET_ADMIN": 12, "BPF": 39} // linux/capability.h
	for _, a := range c.set.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Add {
		if _, ok := numbers[a]; !ok {
			c.t.Fatalf("%s has capability %s, for which there was no reason", node, a)
		}
		mask |= 1 << numbers[a]
	}
	status := read("status")
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
		if want := fmt.Sprintf("%s:\t%016x\n", set, mask); !strings.Contains(status, want) {
			c.t.Errorf("%s: its status has no %q", node, want)
		}
	}
	if !strings.Contains(status, "NoNewPrivs:\t1\n") {
		c.t.Errorf("%s may get privileges", node)
	}
	mounts := read("mountinfo")
	if !regexp.MustCompile(`(?m)^\d+ \d+ \S+ / / ro,`).MatchString(mounts) || strings.Contains(mounts, " /home") {
		c.t.Errorf("%s: the root is not read-only, or not its own:\n%s", node, mounts)
	}
}
