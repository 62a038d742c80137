package userspace

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// adoptUAPI makes the UAPI socket of a listening one that somebody else made.
// If it has a path, that is ours to remove, as wireguard-go does. f is closed.
func adoptUAPI(f *os.File) (*socket, error) {
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", f.Name(), err)
	}
	s := &socket{listener: l.(*net.UnixListener)}
	s.listener.SetUnlinkOnClose(false)
	path := l.Addr().String()
	if !filepath.IsAbs(path) { // abstract, or of a directory that we do not know
		return s, nil
	}
	if s.file, err = os.Lstat(path); err != nil {
		return nil, errors.Join(fmt.Errorf("find the UAPI socket: %w", err), l.Close())
	}
	s.dir, s.path = filepath.Dir(path), path
	return s, nil
}

// checkListening leaves the socket as it is.
func checkListening(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	good := true
	err = c.Control(func(fd uintptr) {
		for option, want := range map[int]int{unix.SO_DOMAIN: unix.AF_UNIX, unix.SO_TYPE: unix.SOCK_STREAM, unix.SO_ACCEPTCONN: 1} {
			is, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option)
			good = good && err == nil && is == want
		}
	})
	if err == nil && !good {
		return fmt.Errorf("%s is no Unix stream socket that listens", f.Name())
	}
	return err
}
