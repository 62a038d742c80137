package netlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// New plans a lab and changes nothing on the host.
func New(options Options) (*Lab, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("plan a lab: %w", err)
	}
	return plan(o), nil
}

// Open finds a lab that is up, made by whatever process. The opener does not
// own it: the lab does not end with it.
func Open(run string) (*Lab, error) {
	if !runName.MatchString(run) {
		return nil, fmt.Errorf("lab name %q: want 1 to 8 of a-z and 0-9", run)
	}
	s, err := readState(run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notUp(run)
	}
	if err != nil {
		return nil, err
	}
	l := plan(s.Options)
	l.up = true
	return l, nil
}

// notUp is an fs.ErrNotExist that does not read like one.
func notUp(run string) error {
	runs, err := Runs()
	if err != nil {
		return err
	}
	return labNotUp{run, runs}
}

type labNotUp struct {
	run    string
	others []string // that are up
}

func (e labNotUp) Error() string {
	if len(e.others) == 0 {
		return fmt.Sprintf("lab %s is not up, nor is any other", e.run)
	}
	return fmt.Sprintf("lab %s is not up; these are: %s", e.run, strings.Join(e.others, ", "))
}

func (labNotUp) Is(target error) bool { return target == fs.ErrNotExist }

// Up makes the lab. It first removes labs whose owners died. On error, and when
// ctx ends, nothing of it is left.
func (l *Lab) Up(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("a lab makes network namespaces: run as root")
	}
	if l.up {
		return fmt.Errorf("lab %s is up already", l.Run)
	}
	if err := l.claim(); err != nil {
		return fmt.Errorf("bring up lab %s: %w", l.Run, err)
	}
	l.up = true
	err := l.watch()
	if err == nil {
		err = l.build(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("bring up lab %s: %w", l.Run, err), l.Down())
	}
	return nil
}

// claim sweeps, takes the lab's name and makes its directories.
func (l *Lab) claim() error {
	owner, err := self()
	if err != nil {
		return err
	}
	return withLock(func() error {
		if err := sweep(); err != nil {
			return err
		}
		if err := os.Mkdir(l.Dir, 0o755); errors.Is(err, fs.ErrExist) {
			return errors.New("there is one of that name: take it down first, or choose another name")
		} else if err != nil {
			return fmt.Errorf("make the lab's directory: %w", err)
		}
		err := state{Options: l.options, Owner: owner}.write()
		if err == nil {
			err = l.makeDirs()
		}
		if err != nil {
			_, rerr := remove(l.Run)
			return errors.Join(err, rerr)
		}
		return nil
	})
}

func (l *Lab) makeDirs() error {
	dirs := []string{l.Records}
	for _, n := range l.Nodes {
		dirs = append(dirs, n.StateDir, n.RunDir)
	}
	if onBPFFS(bpffs) {
		dirs = append(dirs, pinsDir(l.Run))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("make the lab's directories: %w", err)
		}
	}
	return nil
}

// Down removes the lab: the processes that it started, its namespaces, pins and
// files. It may be called twice, and on a lab that is not up or was detached by
// this process, where it does nothing. Processes that somebody else brought
// into the lab are left alone, and are its error.
func (l *Lab) Down() error {
	if !l.up {
		return nil
	}
	var strangers []string
	err := withLock(func() (err error) {
		strangers, err = remove(l.Run)
		return err
	})
	if err != nil {
		return fmt.Errorf("take down lab %s: %w", l.Run, err)
	}
	err = l.release()
	if len(strangers) > 0 {
		err = errors.Join(err, fmt.Errorf("lab %s is gone, but its network namespaces stay as long as these processes, which it did not start: %s",
			l.Run, strings.Join(strangers, ", ")))
	}
	return err
}

// Detach hands the lab on: it stays after this process, until Down is called on
// what Open returns.
func (l *Lab) Detach() error {
	if !l.up {
		return fmt.Errorf("detach lab %s: it is not up", l.Run)
	}
	s, err := readState(l.Run)
	if err != nil {
		return err
	}
	s.Detached = true
	if err := s.write(); err != nil {
		return err
	}
	return l.release()
}

// release makes the lab no longer this process's.
func (l *Lab) release() error {
	l.up = false
	g := l.guardian
	l.guardian = nil
	return g.dismiss()
}

// uapiSockets matches the sockets that killed tunnels of a lab leave behind.
func uapiSockets(run string) string { return filepath.Join(uapiDir, "wg-"+run+"-*.sock") }
