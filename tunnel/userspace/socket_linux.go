package userspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is the UAPI socket, which wg(8) talks to. wireguard-go's own listener
// removes the path when it closes, even if it is a successor's by then.
type socket struct {
	dir, path string // empty where it was made by others without a path
	listener  *net.UnixListener
	file      os.FileInfo // of the path, as we made it
	close     sync.Once
}

var errServed = errors.New("another process serves it; interface names are unique per host, network namespaces share the directory: " +
	"stop that process, or choose another interface name")

// listenUAPI makes the socket: for root alone, in place of one that a dead
// process left over. One that a living process serves is an error.
func listenUAPI(dir, name string) (*socket, error) {
	s := &socket{dir: dir, path: filepath.Join(dir, name+".sock")}
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = s.locked(s.listen)
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("listen on the UAPI socket %s: %w; run as root, or let this user write to %s", s.path, err, dir)
	case err != nil:
		return nil, fmt.Errorf("listen on the UAPI socket %s: %w", s.path, err)
	}
	return s, nil
}

func (s *socket) listen() error {
	if err := removeStale(s.path); err != nil {
		return err
	}
	// The mode of the socket's inode before bind is that of the path after it
	// (unix_bind in net/unix/af_unix.c): there is no moment at which others
	// could connect, and the process's umask is left alone.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
	}}
	l, err := config.Listen(context.Background(), "unix", s.path)
	if err != nil {
		return err
	}
	s.listener = l.(*net.UnixListener)
	s.listener.SetUnlinkOnClose(false)
	if s.file, err = os.Lstat(s.path); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// removeStale removes a socket that nobody listens to.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return errors.New("the path exists and is no socket; remove it, or choose another interface name")
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
		return errServed
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// serve hands every connection to handle, until ctx ends and all of them have
// returned. The listener stays open, so that nobody takes the socket for a dead
// one before Close.
func (s *socket) serve(ctx context.Context, handle func(net.Conn)) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	stop := context.AfterFunc(ctx, func() { _ = s.listener.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		c, err := s.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept on the UAPI socket %s: %w", s.path, err)
		}
		handlers.Go(func() {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			handle(c)
		})
	}
}

// Close ends listening and removes the path if it is still ours. It may be
// called twice.
func (s *socket) Close() (err error) {
	s.close.Do(func() {
		defer s.listener.Close()
		if s.path == "" {
			return
		}
		err = s.locked(func() error {
			if !s.present() {
				return nil
			}
			return os.Remove(s.path)
		})
		if errors.Is(err, os.ErrNotExist) { // the directory is gone as well
			err = nil
		}
	})
	return err
}

// present reports whether the path is still ours, neither removed nor replaced
// by others.
func (s *socket) present() bool {
	info, err := os.Lstat(s.path)
	return s.path == "" || err == nil && os.SameFile(info, s.file)
}

// locked runs f while no other tunnel looks at, makes or removes a socket in
// the directory.
func (s *socket) locked(f func() error) error {
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.dir, err)
	}
	return f()
}
