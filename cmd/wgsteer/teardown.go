package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel/kernel"
)

// uapiDirectory is where wg(8) looks for userspace tunnels.
const uapiDirectory = "/var/run/wireguard"

// tornDown is what `teardown` prints.
type tornDown struct {
	Interface string   `json:"interface"`
	Removed   []string `json:"removed"`
	Kept      []string `json:"kept"`
}

func newTeardownCommand(env *env) *cobra.Command {
	var file string
	var out output
	var hold bool
	cmd := &cobra.Command{
		Use:   "teardown",
		Short: "Remove what wgsteer leaves in the kernel when its daemon ends",
		Long: `Remove what wgsteer leaves in the kernel when its daemon ends: eBPF programs and
maps, the nftables table, routes, addresses, and a kernel tunnel's link with its
sessions. From then on packets between pods of different nodes travel as if wgsteer
had never been there, in plaintext. It looks afterwards whether anything is left,
and fails if so; a second time there is nothing to remove. The daemon has to be
stopped before.

What is in stateDir, the private key among it, and this node's record are kept; so is
the lock's file in runDir.

With --hold it stays until SIGTERM or SIGINT after it has worked: in the place of
the daemon in a DaemonSet, which would start again what ends.`,
		Example: "  systemctl stop wgsteer && wgsteer teardown --config /etc/wgsteer/config.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(env, file)
			if err != nil {
				return err
			}
			var signals <-chan os.Signal
			if hold { // one that comes while it works is not lost; without, it ends there as any process
				var stop func()
				signals, stop = env.Signals(unix.SIGTERM, os.Interrupt)
				defer stop()
			}
			done := env.waiting("removing programs and routes")
			result, err := teardown(config)
			done()
			if err != nil && len(result.Removed) == 0 {
				return err
			}
			// What was removed is told also beside an error.
			if err = errors.Join(out.print(env.Stdout, result, result.table), err); err != nil || !hold {
				return err
			}
			select {
			case <-signals:
			case <-cmd.Context().Done():
			}
			return nil
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&hold, "hold", false, "stay until a signal afterwards")
	out.addFlag(cmd)
	return cmd
}

// teardown holds the lock, so that no daemon starts meanwhile.
func teardown(config configuration) (result tornDown, err error) {
	lock, err := takeLock(config)
	if err != nil {
		return tornDown{}, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	p := config.Plane
	removed, err := steering.Teardown(steering.Options{BPFFS: p.BPFFS, Name: p.Interface})
	errs := []error{err}
	gone, err := kernel.Remove(p.Interface)
	errs = append(errs, err)
	if gone {
		removed = append(removed, "link "+p.Interface+" (the kernel's WireGuard)")
	}
	// A daemon that was killed leaves what it was making, and its sockets.
	strays, err := kernel.RemoveStrays()
	errs = append(errs, err)
	for _, name := range strays {
		removed = append(removed, "link "+name+" (of a start that was killed)")
	}
	for _, path := range []string{config.socketPath(), filepath.Join(uapiDirectory, p.Interface+".sock")} {
		gone, err := removeStaleSocket(path)
		errs = append(errs, err)
		if gone {
			removed = append(removed, "socket "+path)
		}
	}
	result = tornDown{Interface: p.Interface, Removed: append([]string{}, removed...), Kept: []string{}} // [] rather than null
	// The lock's file stays: one who waits for it would lock what is no longer there.
	kept := []string{p.StateDir, config.lockPath()}
	if config.Directory != "" {
		kept = append(kept, filepath.Join(config.Directory, p.Node+".yaml"))
	}
	for _, path := range kept {
		if _, err := os.Lstat(path); err == nil {
			result.Kept = append(result.Kept, path)
		}
	}
	return result, errors.Join(errs...)
}

// removeStaleSocket removes a Unix socket on which nobody listens.
func removeStaleSocket(path string) (removed bool, err error) {
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		return false, conn.Close()
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		return false, fmt.Errorf("look whether anybody listens on %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return false, fmt.Errorf("remove the stale socket: %w", err)
	}
	return true, nil
}

func (d tornDown) table(w io.Writer) error {
	var b strings.Builder
	for _, r := range d.Removed {
		fmt.Fprintf(&b, "removed  %s\n", r)
	}
	if len(d.Removed) == 0 {
		fmt.Fprintf(&b, "nothing to remove: there is nothing of wgsteer for interface %s in the kernel\n", d.Interface)
	}
	for _, k := range d.Kept {
		fmt.Fprintf(&b, "kept     %s\n", k)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
