package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newRunCommand(env *env) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the data plane of this node, as a daemon in the foreground",
		Long: `Run the data plane of this node until SIGTERM or SIGINT; another signal, a second
or more after that, ends it at once. SIGHUP reads the configuration file again;
one that is wrong changes nothing. The log goes to standard error; LOG_LEVEL
(verbose, error, silent) overrides the configured level.

What keeps plaintext from leaving stays in the kernel when the daemon ends, and so
does a tunnel of the kernel's WireGuard, which goes on to carry packets: 'wgsteer
teardown' removes both.`,
		Example: "  wgsteer run --config /etc/wgsteer/config.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(env, file)
			if err != nil {
				return err
			}
			// A reload, and whoever reads the status, finds it from anywhere.
			if config.File, err = filepath.Abs(file); err != nil {
				return fmt.Errorf("find the configuration file: %w", err)
			}
			log := env.journal(config.Log)
			oneMoreProcessor(env)
			// Unheeded, one kills; what comes early is done once the daemon runs.
			hangups, stop := env.Signals(unix.SIGHUP)
			defer stop()
			return untilSignalled(cmd.Context(), env, log.Logger, func(ctx context.Context) error {
				config, err := config.withCluster(ctx, log.Logger)
				if errors.Is(err, context.Canceled) {
					return nil // the end that was asked for
				}
				if err != nil {
					return err
				}
				d, err := newDaemon(env, config, log)
				if err != nil {
					return err
				}
				return d.run(ctx, hangups)
			})
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// sameRequest is how long after the first signal another is taken for the same
// request: timeout(1) signals the process, and then its group.
const sameRequest = time.Second

// untilSignalled stops run at the first signal and gives up on it at the
// second: the process ends then, whatever hangs.
func untilSignalled(ctx context.Context, env *env, log *slog.Logger, run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals, stop := env.Signals(unix.SIGTERM, os.Interrupt)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	var first time.Time
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			switch {
			case first.IsZero():
				first = time.Now()
				log.Info("stopping; a second signal ends it at once", "signal", s)
				cancel()
			case time.Since(first) >= sameRequest:
				return errors.New("ended at once by a second signal")
			}
		}
	}
}

// configFlag adds --config.
func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", defaultConfigFile, "the configuration file")
	// The flag was defined a line above: the one error there is cannot happen.
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}
