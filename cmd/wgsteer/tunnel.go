package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel/tundev"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
)

// The environment of wireguard-go, which means the same here.
const (
	foregroundEnv = "WG_PROCESS_FOREGROUND"
	tunEnv        = "WG_TUN_FD"
	uapiEnv       = "WG_UAPI_FD"
)

func newTunnelCommand(env *env) *cobra.Command {
	var foreground bool
	cmd := &cobra.Command{
		Use:   "tunnel NAME",
		Short: "Run a WireGuard tunnel alone, in place of wireguard-go",
		Long: `Run a WireGuard tunnel alone, without steering: what 'wireguard-go NAME' does.
It makes the link NAME, which wg(8), ip(8) and wg-quick(8) configure as any
WireGuard link, and returns when it is ready for that. The tunnel runs on in the
background until SIGTERM or SIGINT, until the link is deleted, or until its socket
/var/run/wireguard/NAME.sock is removed. The link may be moved to another network
namespace; encrypted packets go through that of the process.

Environment: LOG_LEVEL (verbose, error, silent); WG_TUN_FD and WG_UAPI_FD, numbers
of open file descriptors to use as TUN and as listening UAPI socket;
WG_PROCESS_FOREGROUND=1, as -f. The log goes to standard error, in the background
only where LOG_LEVEL is set.`,
		Example: `  wgsteer tunnel wg0 && wg setconf wg0 FILE && ip link set wg0 up
  wgsteer tunnel -f wg0`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := tunnelOptions(env, args[0])
			if err != nil {
				return usageError{err}
			}
			if !foreground && env.Getenv(foregroundEnv) != "1" {
				return tunnelInBackground(env, options)
			}
			return runTunnel(cmd.Context(), env, options)
		},
	}
	cmd.Flags().BoolVarP(&foreground, "foreground", "f", false, "stay in the foreground")
	return cmd
}

// tunnelOptions are what the command line and the environment ask for. A TUN
// that was passed has its name, whatever the command line says.
func tunnelOptions(env *env, name string) (o userspace.Options, err error) {
	o = userspace.Options{Standalone: true}
	if o.TUN, err = inherited(env.Getenv, tunEnv); err != nil {
		return o, err
	}
	if o.UAPI, err = inherited(env.Getenv, uapiEnv); err != nil {
		return o, err
	}
	o.Interface = name
	if o.TUN != nil {
		if o.Interface, err = tundev.NameOf(o.TUN); err != nil {
			return o, err
		}
	}
	o.Logger = newLogger(env.Stderr, logConfig{}, tunnelLevel(env.Getenv))
	_, err = userspace.New(o) // it checks them
	return o, err
}

// tunnelLevel is the level that LOG_LEVEL names. What wireguard-go calls its
// errors, and shows by default, are warnings here: it goes on after them.
func tunnelLevel(getenv func(string) string) slog.Level {
	level := logLevel(logConfig{Level: slog.LevelWarn}, getenv)
	if level == silent {
		return level
	}
	return min(level, slog.LevelWarn)
}

// inherited is the descriptor whose number is in a variable; nil where that is
// not set.
func inherited(getenv func(string) string, key string) (*os.File, error) {
	text := getenv(key)
	if text == "" {
		return nil, nil
	}
	fd, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%s=%s: the number of an open file descriptor is needed", key, text)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return nil, fmt.Errorf("%s=%s: no such file descriptor is open here; whoever starts this has to pass it on", key, text)
	}
	return os.NewFile(uintptr(fd), key+"="+text), nil
}

// runTunnel runs the tunnel in this process.
func runTunnel(ctx context.Context, env *env, o userspace.Options) error {
	report, err := reportToParent(env.Getenv)
	if err != nil {
		return usageError{err}
	}
	t, err := userspace.New(o)
	if err != nil {
		return usageError{err}
	}
	return untilSignalled(ctx, env, o.Logger, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- t.Run(ctx) }()
		select {
		case err := <-ended:
			return report.failed(err)
		case <-t.Ready():
		}
		if err := report.ready(); err != nil { // nobody waits for this tunnel any more
			cancel()
			return errors.Join(err, <-ended)
		}
		return <-ended
	})
}
