package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// The exit codes; doc.go and the root command's help explain them.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError marks an error of the command line or the configuration: nothing
// was done, and the user can mend it.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errSilent fails a command whose output already says why.
var errSilent = errors.New("failed; the output says why")

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, env *env) int {
	root := newRootCommand(env)
	root.SetArgs(args)
	started := false // a verb began its work: errors are no longer of the command line
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(env.Stderr, "wgsteer: %v\n", err)
		return exitUsage
	case !started:
		// Cobra's own errors: unknown verbs, flags, wrong numbers of arguments.
		fmt.Fprintf(env.Stderr, "wgsteer: %v\nTry '%s --help'.\n", err, cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(env.Stderr, "wgsteer: %v\n", err)
	return exitFailed
}

func newRootCommand(env *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "wgsteer",
		Short: "Encrypt the traffic between pods of different nodes, without the kernel's WireGuard",
		Long: `wgsteer encrypts the traffic between pods of different nodes: eBPF programs steer
it into WireGuard tunnels that run in userspace, so that the nodes' kernels need
no WireGuard.

Exit codes: 0 it worked; 1 it failed, or what was asked about is not well;
2 the command line or the configuration is wrong, and nothing was done.`,
		Example: `  wgsteer check                       # what is missing here, and how to mend it
  wgsteer run --config FILE           # the daemon
  wgsteer status                      # how it is`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.AddCommand(
		newRunCommand(env),
		newGuardCommand(env),
		newStatusCommand(env),
		newCheckCommand(env),
		newExplainCommand(env),
		newBugreportCommand(env),
		newKeysCommand(env),
		newTeardownCommand(env),
		newTunnelCommand(env),
		newLabCommand(env),
		newVersionCommand(env),
	)
	return root
}
