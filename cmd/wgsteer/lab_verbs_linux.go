package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// up starts a lab that stays.
func (l lab) up(ctx context.Context, shape labShape, out *output) error {
	progress := l.progress()
	n, err := l.lay(ctx, progress, shape)
	if err != nil {
		return because(ctx, err)
	}
	err = n.startAndAwait(ctx, progress, &labReport{})
	if err == nil {
		err = n.net.Detach()
	}
	if err == nil {
		return n.print(ctx, out)
	}
	err = because(ctx, err)
	if ctx.Err() == nil {
		logs, saveErr := n.saveLogs()
		if logs != "" {
			err = fmt.Errorf("%w; logs are kept in %s", err, logs)
		}
		err = errors.Join(err, saveErr)
	}
	return errors.Join(err, n.takeDown(context.WithoutCancel(ctx), progress))
}

// open finds a lab by name.
func (l lab) open(name string) (*labNodes, error) {
	net, err := netlab.Open(name)
	if err != nil {
		return nil, err
	}
	return &labNodes{lab: l, net: net}, nil
}

func (l lab) status(ctx context.Context, name string, out *output) error {
	n, err := l.open(name)
	if err != nil {
		return err
	}
	return n.print(ctx, out)
}

func (n *labNodes) print(ctx context.Context, out *output) error {
	s := n.status(ctx)
	return out.print(n.env.Stdout, s, func(w io.Writer) error { return s.table(w, n.env.colours()) })
}

// down ends a lab, whatever state it is in.
func (l lab) down(ctx context.Context, name string) error {
	n, err := l.open(name)
	if err != nil {
		return err
	}
	return n.takeDown(ctx, l.progress())
}

// labMark tells netlab which processes are the lab's; its Command sets it.
const labMark = "WGSTEER_LAB"

// exec becomes a command in the network namespace of a node or a pod, so that
// terminal, signals and exit status are the command's own. It returns only on
// error.
func (l lab) exec(name, where string, command, environ []string) error {
	n, err := l.open(name)
	if err != nil {
		return err
	}
	at, err := n.net.Find(where)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return fmt.Errorf("find the command to run in %s: %w", where, err)
	}
	return at.Do(func() error {
		err := syscall.Exec(path, command, append(environ, labMark+"="+name))
		return fmt.Errorf("run %s in %s: %w", path, where, err)
	})
}

// reaper is the command that removes a lab when this process was killed.
func (l lab) reaper() ([]string, error) {
	binary, err := l.executable()
	if err != nil {
		return nil, fmt.Errorf("find this very binary: %w", err)
	}
	return []string{binary, "lab", reapVerb}, nil
}
