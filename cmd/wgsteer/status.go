package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"
)

func newStatusCommand(env *env) *cobra.Command {
	var file string
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the running data plane is",
		Long: `Show how the running data plane of this node is: its tunnel, its peers, what was
dropped and why, and what is wrong with node records.

The exit code is 0 while pods can talk to other nodes' pods, and 1 when they
cannot or no daemon runs. The JSON and YAML forms have one schema; within a
version of the control socket (/v1) fields are only ever added.`,
		Example: `  wgsteer status
  wgsteer status -o json | jq '.peers[] | {name, lastHandshake}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config := env.findConfig(file)
			reply, err := newControlClient(config).status(cmd.Context())
			if err != nil {
				return err
			}
			table := func(w io.Writer) error {
				return statusTable{colour: env.colours(), now: time.Now()}.write(w, reply)
			}
			if err := out.print(env.Stdout, reply, table); err != nil {
				return err
			}
			if !reply.Ready {
				return errSilent
			}
			return nil
		},
	}
	configFlag(cmd, &file)
	out.addFlag(cmd)
	return cmd
}
