package kubee2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wgsteer/wgsteer/internal/kubetest"
	"github.com/wgsteer/wgsteer/internal/labtest"
)

// document runs what docs/kubernetes.md has its readers type.
type document struct {
	c      *cluster
	blocks map[string][]string // by the name after ```sh, in their order
	env    []string
}

// document reads it, and makes the commands that it uses: helm, kubectl with the admin's
// credentials, and for kubectl exec, which needs kubelets, the cluster's own.
func (c *cluster) document() *document {
	c.t.Helper()
	d := &document{c: c, blocks: labtest.ShellBlocks(c.t, "../../docs/kubernetes.md")}
	bin := c.t.TempDir()
	for name, script := range map[string]string{
		"helm": `exec go tool -modfile=tools/go.mod helm "$@"`,
		"kubectl": `for word; do
  [ "$word" = exec ] || continue
  pod=$(printf '%s\n' "$@" | sed -n 's|^pod/||p; s|^daemonset/wgsteer$|wgsteer-node-a|p')
  while [ "$1" != -- ]; do shift; done
  shift
  exec ` + c.execDir() + `/"$pod" "$@"
done
exec ` + kubetest.Kubectl(c.t) + ` "$@"`,
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
	d.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+c.api.Kubeconfig(c.t, ""))
	return d
}

// run runs the blocks of a name in a shell that ends at the first failure, and returns
// what they print.
func (d *document) run(name string) string {
	d.c.t.Helper()
	gateway, err := d.c.Find("gateway")
	if err != nil {
		d.c.t.Fatal(err)
	}
	if len(d.blocks[name]) == 0 {
		d.c.t.Fatalf("docs/kubernetes.md has no block `sh %s`", name)
	}
	var printed strings.Builder
	for _, block := range d.blocks[name] {
		cmd := gateway.Command(d.c.t.Context(), "bash", "-o", "pipefail", "-ec", block)
		cmd.Dir, cmd.Env = "../..", d.env
		out, err := cmd.CombinedOutput()
		d.c.t.Logf("%s\n%s", block, out)
		if err != nil {
			d.c.t.Fatalf("the block `sh %s` of docs/kubernetes.md: %v", name, err)
		}
		printed.Write(out)
	}
	return printed.String()
}

// execDir is where kubelets keep a command for each pod, as its name: it runs its
// arguments in the pod's container.
func (c *cluster) execDir() string { return filepath.Join(c.Dir, "exec") }

// tellExec writes the command of the container that runs now.
func (k *kubelet) tellExec(pod string) error {
	entry, err := k.entry()
	if err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(filepath.Dir(k.root)), "exec")
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", strings.Join(entry, "' '"))
	aside := filepath.Join(dir, "."+pod)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(aside, []byte(script), 0o700); err != nil {
		return err
	}
	return os.Rename(aside, filepath.Join(dir, pod))
}
