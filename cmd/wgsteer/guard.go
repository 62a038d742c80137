package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/steering"
)

// guarded is what `guard` prints.
type guarded struct {
	Interface string           `json:"interface"`
	Policy    dataplane.Policy `json:"policy"` // of the configuration
	// Kept says that another process, the daemon, keeps the guard: nothing was done.
	Kept bool `json:"kept"`
	PID  int  `json:"pid,omitempty"` // of that process, where it is known
	// Devices that have the programs; what else there is, or comes, is covered by
	// routes and by what asks for no device.
	Devices     []steering.Attachment `json:"devices"`
	Unsteerable []steering.Device     `json:"unsteerable,omitempty"`
	// Failing is what of the guard is missing, although it could not be put up
	// better here: a kernel without nf_tables, a device that cannot be steered.
	Failing string `json:"failing,omitempty"`
}

func newGuardCommand(env *env) *cobra.Command {
	var file string
	var out output
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Put in place what keeps pod traffic from leaving in plaintext, without a tunnel",
		Long: `Put in place what keeps packets between pods of different nodes from leaving or
entering this node in plaintext, without a tunnel, and end. It is for the time
between boot and the daemon: deploy/systemd/wgsteer-guard.service runs it before
kubelet and the container runtime. It needs no network, no key and no records. With
source.kubernetes and without clusterCIDRs it asks the API server for these, once
where they were found before, and takes those when it is away; else at most 30 s.

The daemon takes it over when it starts. Where one runs already, that one keeps
the guard, and nothing is done. 'wgsteer teardown' removes it.`,
		Example: "  wgsteer guard --config /etc/wgsteer/config.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(env, file)
			if err != nil {
				return err
			}
			log := env.journal(config.Log).Logger
			if config, err = config.withCluster(cmd.Context(), log); err != nil {
				return err
			}
			result, err := guard(cmd.Context(), config, log)
			if err != nil && len(result.Devices) == 0 {
				return err
			}
			// What stands is told also beside an error.
			return errors.Join(out.print(env.Stdout, result, result.table), err)
		},
	}
	configFlag(cmd, &file)
	out.addFlag(cmd)
	return cmd
}

// guard holds the lock, so that no daemon starts meanwhile.
func guard(ctx context.Context, config configuration, log *slog.Logger) (result guarded, err error) {
	result = guarded{Interface: config.Plane.Interface, Policy: cmp.Or(config.Plane.Policy, dataplane.Strict), Devices: []steering.Attachment{}}
	lock, err := takeLock(config)
	var running alreadyRunning
	if errors.As(err, &running) {
		result.Kept, result.PID = true, running.PID
		return result, nil
	}
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	status, err := dataplane.Guard(ctx, config.plane(log, unread{}))
	result.Devices, result.Unsteerable = append(result.Devices, status.Devices...), status.Unsteerable
	if err == nil { // else it is the same
		result.Failing = status.Failing
	}
	if bad := new(dataplane.FieldError); errors.As(err, &bad) {
		return result, usageError{err}
	}
	return result, err
}

func (g guarded) table(w io.Writer) error {
	var b strings.Builder
	switch {
	case g.Kept:
		fmt.Fprintf(&b, "nothing to do: wgsteer runs for %s, as process %d, and keeps the guard\n", g.Interface, g.PID)
	case len(g.Devices) == 0:
		fmt.Fprintf(&b, "no device leads to other nodes yet; one that comes is covered by routes and nftables until the daemon steers it\n")
	}
	for _, d := range g.Devices {
		if d.Error != "" {
			fmt.Fprintf(&b, "failing  %s: %s\n", d.Name, d.Error)
			continue
		}
		fmt.Fprintf(&b, "guarded  %s (%s), %s\n", d.Name, d.Mechanism, d.Reason)
	}
	for _, d := range g.Unsteerable {
		fmt.Fprintf(&b, "warning  %s carries pod packets past the programs: %s\n", d.Name, d.Reason)
	}
	if g.Policy == dataplane.Permissive && !g.Kept {
		fmt.Fprintf(&b, "warning  the policy is permissive: pods' packets that no peer's record covers pass in plaintext, and are counted\n")
	}
	if g.Failing != "" {
		fmt.Fprintf(&b, "warning  %s\n", g.Failing)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
