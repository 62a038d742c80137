package netlab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// guardian is the process that removes the lab when its owner dies: it reads
// from a pipe whose other end the owner alone holds, and is dismissed by closing
// that end when there is nothing to remove.
type guardian struct {
	cmd   *exec.Cmd
	alive *os.File
}

// watch starts the reaper, if there is one.
func (l *Lab) watch() error {
	if len(l.options.Reaper) == 0 {
		return nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make the reaper's pipe: %w", err)
	}
	defer read.Close()
	argv := append(l.options.Reaper[1:len(l.options.Reaper):len(l.options.Reaper)], l.Run)
	cmd := exec.Command(l.options.Reaper[0], argv...)
	cmd.Stdin = read
	// A session of its own: what kills the owner's process group, Ctrl-C above
	// all, must not take the reaper along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		write.Close()
		return fmt.Errorf("start the reaper: %w", err)
	}
	l.guardian = &guardian{cmd: cmd, alive: write}
	return nil
}

// dismiss ends the reaper and waits for it. What it found to do is its error.
func (g *guardian) dismiss() error {
	if g == nil {
		return nil
	}
	err := g.alive.Close()
	if werr := g.cmd.Wait(); werr != nil {
		err = errors.Join(err, fmt.Errorf("the lab's reaper failed: %w", werr))
	}
	return err
}

// Reap waits until owner is at its end and then removes the lab, unless that is
// gone, detached or another's by then. It is what Options.Reaper calls.
func Reap(run string, owner io.Reader) error {
	if !runName.MatchString(run) {
		return fmt.Errorf("lab name %q: want 1 to 8 of a-z and 0-9", run)
	}
	mine, err := readState(run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, owner); err != nil {
		return fmt.Errorf("wait for the owner of lab %s: %w", run, err)
	}
	return withLock(func() error {
		now, err := readState(run)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case now.Detached || now.Owner != mine.Owner:
			return nil
		}
		_, err = remove(run)
		return err
	})
}
