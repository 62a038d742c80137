package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// alreadyRunning says that another process holds the lock of an interface.
type alreadyRunning struct {
	Interface string
	PID       int // 0 when unknown
}

func (e alreadyRunning) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = "process " + strconv.Itoa(e.PID)
	}
	return fmt.Sprintf("wgsteer already runs for interface %s, as %s; stop that first, with `systemctl stop wgsteer` or a SIGTERM", e.Interface, who)
}

// runLock is held by whoever may change what belongs to an interface: the
// daemon while it runs, and the verbs that need it not to. The kernel drops it
// with the process, so that a killed daemon leaves nothing to clean up: who
// holds the lock knows that a socket beside it is stale.
type runLock struct{ f *os.File }

// lockPatience is how long a lock is waited for: a process that was killed keeps
// its own for some ms, until the kernel has closed what it had open.
const lockPatience = time.Second

// takeLock makes runDir and locks c's interface in it, within lockPatience. The
// error is an alreadyRunning when somebody else holds it.
func takeLock(c configuration) (*runLock, error) {
	err := os.MkdirAll(c.RunDir, 0o755)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(c.lockPath(), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	}
	if err != nil {
		return nil, explainLock(c, err)
	}
	if err := flock(c, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l := &runLock{f}
	if err := l.writePID(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

// lookAtLock returns the alreadyRunning that takeLock would, and makes nothing.
// Where there is no lock file, nobody holds it.
func lookAtLock(c configuration) error {
	f, err := os.OpenFile(c.lockPath(), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return explainLock(c, err)
	}
	return errors.Join(flock(c, f), f.Close())
}

func flock(c configuration, f *os.File) error {
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 100) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", c.lockPath(), err)
		case !time.Now().Before(end):
			return alreadyRunning{c.Plane.Interface, readPID(f)}
		}
	}
}

func explainLock(c configuration, err error) error {
	err = fmt.Errorf("take the lock of interface %s in runDir: %w", c.Plane.Interface, err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run this as root", err)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w; %s", err, mendRunDir)
	}
	return err
}

// writePID tells others, for their messages, who holds the lock.
func (l *runLock) writePID() error {
	if err := l.f.Truncate(0); err != nil {
		return fmt.Errorf("empty the lock file: %w", err)
	}
	if _, err := l.f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write the lock file: %w", err)
	}
	return nil
}

func readPID(f *os.File) int {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}

// release unlocks. The file stays: removing it would let two processes lock
// two files of one name.
func (l *runLock) release() error { return l.f.Close() }
