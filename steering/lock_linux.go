package steering

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait is how long lockPins waits for a process that is ending: the kernel
// lets go of its lock some time after the signal.
const lockWait = time.Second

// lockPins makes the pin directory and locks it until the file is closed: two
// processes that steer by the same pins would undo each other's work, from
// different network namespaces even take each other's programs off.
func lockPins(dir string) (*os.File, error) {
	if err := requireBPFFS(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the pin directory: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the pin directory: %w", err)
	}
	for start := time.Now(); ; time.Sleep(lockWait / 50) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
		}
		if time.Since(start) > lockWait {
			return nil, errors.Join(fmt.Errorf("another process steers by the pins in %s: stop it, or give this one another interface name or bpffs directory", dir), f.Close())
		}
	}
}
