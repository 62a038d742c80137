package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait is how long to wait for a process that is ending: the kernel lets go of its
// lock some time after the signal.
const lockWait = time.Second

// lockPins makes the pin directory and locks it until the file is closed, for which it
// waits at most so long: two processes that steer by the same pins would undo each
// other's work, from different network namespaces even take each other's programs off.
func lockPins(dir string, wait time.Duration) (*os.File, error) {
	if err := requireBPFFS(dir); err != nil {
		return nil, err
	}
	for start := time.Now(); ; time.Sleep(lockWait / 50) {
		f, err := tryLock(dir)
		if err == nil && locks(f, dir) {
			return f, nil
		}
		if err == nil { // somebody removed the directory meanwhile
			err = errors.Join(unix.EWOULDBLOCK, f.Close())
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, err
		}
		if time.Since(start) >= wait {
			return nil, fmt.Errorf("another process steers by the pins in %s: stop it, or give this one another interface name or bpffs directory", dir)
		}
	}
}

func tryLock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the pin directory: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the pin directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// locks says whether f is dir still. A lock goes with its directory: whoever makes that
// anew can lock it, too.
func locks(f *os.File, dir string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(dir)
	return err == nil && os.SameFile(held, there)
}

// relock locks the pin directory again where somebody removed the one that was locked. It
// fails where another process was faster. When that one has ended, what it left pinned is
// taken over as at a start.
func (s *Steering) relock() error {
	if locks(s.lock, s.options.pins()) {
		return nil
	}
	lock, err := lockPins(s.options.pins(), 0)
	if err != nil {
		return err
	}
	old, attacher, objects := s.lock, s.attacher, s.objects
	if s.objects.intact(s.options.pins()) { // not by us: ours went with the directory
		if err := s.load(); err != nil {
			return errors.Join(err, lock.Close())
		}
		s.have = nil
		attacher.close()
		err = objects.Close()
	}
	s.lock = lock
	return errors.Join(err, old.Close())
}

// makePinsOf makes a directory within the pin directory, never that one itself: whoever
// removed it removed the lock, and pins in one that is not locked are anybody's.
func makePinsOf(dir, name string) error {
	err := os.Mkdir(filepath.Join(dir, name), 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the directory of pinned %s: %w", name, err)
	}
	return nil
}
