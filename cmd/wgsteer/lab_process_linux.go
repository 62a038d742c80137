package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// labProcess is a process held by a descriptor, so that its number cannot come
// to mean another.
type labProcess struct {
	pid int
	fd  int // a pidfd
}

// startLabProcess has start start cmd, in a session of its own, where no key of
// this terminal reaches it; it may outlive this process.
func startLabProcess(cmd *exec.Cmd, start func() error) (*labProcess, error) {
	p := labProcess{fd: -1}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, PidFD: &p.fd}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p.pid = cmd.Process.Pid
	return &p, cmd.Process.Release()
}

// openLabProcess holds a process that another one started.
func openLabProcess(pid int) (*labProcess, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &labProcess{pid, fd}, nil
}

// close lets go of the process, whether it runs or not.
func (p *labProcess) close() error { return unix.Close(p.fd) }

// ended waits at most d for the end of the process, and reaps it if it is a
// child of this one.
func (p *labProcess) ended(d time.Duration) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	err = unix.Waitid(unix.P_PIDFD, p.fd, nil, unix.WEXITED|unix.WNOHANG, nil)
	if errors.Is(err, unix.ECHILD) {
		err = nil // another process started it, or it is reaped already
	}
	return true, err
}

// stop asks the process to end and waits for that; after grace, or when ctx
// ends, it kills it, waits, and returns an error.
func (p *labProcess) stop(ctx context.Context, grace time.Duration) error {
	if err := p.signal(unix.SIGTERM); err != nil {
		return err
	}
	for deadline := time.Now().Add(grace); ctx.Err() == nil && time.Now().Before(deadline); {
		if ended, err := p.ended(50 * time.Millisecond); ended || err != nil {
			return err
		}
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		return err
	}
	if ended, err := p.ended(10 * time.Second); !ended {
		return errors.Join(fmt.Errorf("process %d does not end even when killed", p.pid), err)
	}
	return fmt.Errorf("process %d did not end within %v of being asked to, and was killed", p.pid, grace)
}

// signal is nothing to a process that has ended.
func (p *labProcess) signal(s unix.Signal) error {
	if err := unix.PidfdSendSignal(p.fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(s), p.pid, err)
	}
	return nil
}
