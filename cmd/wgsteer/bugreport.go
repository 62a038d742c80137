package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
)

// toStdout is the value of --out that means standard output.
const toStdout = "-"

func newBugreportCommand(env *env) *cobra.Command {
	var file, out string
	cmd := &cobra.Command{
		Use:   "bugreport",
		Short: "Collect what helps to find a fault on this node, in one archive without a key",
		Long: `Collect what helps to find a fault on this node in one archive (tar.gz, mode 0600):
status, metrics, the end of the log and the goroutines of the running daemon; the
configuration; version and host; the eBPF programs and maps; links, addresses,
routes and rules; the nftables table; the node records, and what is remembered of
them; and what 'wgsteer check' finds. README.txt in it says what each file is, and
what could not be had and why: a part that fails never fails the whole, and what
does not need the daemon is there without one.

No private key is in it, nor anything that has the form of a key or a token and is
not one of the nodes' public keys, which are public; of the configuration only the
fields that wgsteer knows. Names and addresses of nodes, prefixes of pods, devices
and routes are in it: look at it before you give it away.

It changes nothing on the node, but what 'wgsteer check' does: it greets the peers,
and tries whether the kernel can make a WireGuard link.`,
		Example: `  wgsteer bugreport
  wgsteer bugreport --out /tmp/node-a.tar.gz
  kubectl exec -n kube-system wgsteer-x7k2p -- wgsteer bugreport --out - > node-a.tar.gz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBugreport(cmd.Context(), env, file, out)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&out, "out", "", "the file to write, - for standard output (default wgsteer-bugreport-<node>-<time>.tar.gz)")
	return cmd
}

func runBugreport(ctx context.Context, env *env, file, out string) error {
	if out == toStdout && env.StdoutTerminal {
		return usageError{errors.New("an archive is nothing for a terminal; write it to a file: wgsteer bugreport --out - > FILE")}
	}
	r := newBugreport(env, file, time.Now())
	if out == "" {
		out = r.name + ".tar.gz"
	}
	if err := replaceable(out); err != nil { // before the work, not after it
		return usageError{err}
	}
	done := env.waiting("collecting what there is")
	parts := r.collect(ctx)
	done()
	archive, err := r.archive(parts)
	if err != nil {
		return err
	}
	if out == toStdout {
		if _, err := env.Stdout.Write(archive); err != nil {
			return fmt.Errorf("write the archive: %w", err)
		}
		fmt.Fprintf(env.Stderr, "wgsteer: %s\n", summary(parts))
		return nil
	}
	if err := renameio.WriteFile(out, archive, 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
		return explainOut(out, err)
	}
	fmt.Fprintf(env.Stdout, "wrote %s (%d kB): %s\n", out, (len(archive)+1023)/1024, summary(parts))
	return nil
}

// replaceable refuses what a file must not take the place of, as /dev/null.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	if path == toStdout || err != nil || info.Mode().IsRegular() {
		return nil // that it cannot be written shows as it is
	}
	return fmt.Errorf("--out %s: it is there, and no regular file; name another, or - for standard output", path)
}

func explainOut(path string, err error) error {
	err = fmt.Errorf("write the archive %s: %w", path, err)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "read-only") {
		return fmt.Errorf("%w; name a file in a directory that can be written with --out, or send it through: wgsteer bugreport --out - > FILE", err)
	}
	return err
}

// summary says how much could be had.
func summary(parts []part) string {
	var missing []string
	for _, p := range parts {
		if p.err != nil {
			missing = append(missing, p.name)
		}
	}
	if len(missing) == 0 {
		return fmt.Sprintf("all %d parts, no private key; look at it before you give it away", len(parts))
	}
	return fmt.Sprintf("%d of %d parts, no private key; not to be had: %s (README.txt in it says why); look at it before you give it away",
		len(parts)-len(missing), len(parts), strings.Join(missing, ", "))
}

// reportName is that of an archive and of the directory in it.
func reportName(node string, now time.Time) string {
	safe := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			return c
		}
		return '_'
	}, filepath.Base(node))
	return "wgsteer-bugreport-" + safe + "-" + now.UTC().Format("20060102T150405Z")
}
