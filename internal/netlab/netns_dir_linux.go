package netlab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// shareNetnsDir makes the directory of named namespaces a shared mount of its own, where
// it is none. The first `ip netns add` after a boot does the same: were that run while a
// lab is up, the new mount would hide the lab's namespaces, which could then be neither
// entered nor removed. It stays, as that of ip-netns(8) does.
func shareNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return fmt.Errorf("make the directory of network namespaces: %w", err)
	}
	d, err := os.Open(netnsDir)
	if err != nil {
		return fmt.Errorf("open the directory of network namespaces: %w", err)
	}
	defer d.Close()
	// ip-netns(8) takes the same lock, and other labs may start now.
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	share := func() error { return unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "") }
	err = share()
	if errors.Is(err, unix.EINVAL) { // no mount point yet
		if err := unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("make %s a mount: %w", netnsDir, err)
		}
		err = share()
	}
	if err != nil {
		return fmt.Errorf("share the mount %s: %w", netnsDir, err)
	}
	return nil
}
