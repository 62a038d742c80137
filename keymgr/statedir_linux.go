package keymgr

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/keymgr/internal/durable"
)

// maxStateFile bounds what is read back, in bytes: claims of 10,000 nodes take
// about 5 MB.
const maxStateFile = 64 << 20

// stateDir is the opened directory that only this user can look into.
type stateDir struct{ root *os.Root }

// openStateDir refuses a directory that is a symbolic link, belongs to someone
// else, or is open to others.
func openStateDir(path string) (stateDir, error) {
	path = filepath.Clean(path) // a slash at the end would follow a link
	info, err := os.Lstat(path)
	if err != nil {
		return stateDir{}, fmt.Errorf("look at state directory: %w", err)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return stateDir{}, fmt.Errorf("state directory %s is a symbolic link, and those are not followed; configure the directory it points to", path)
	case !info.IsDir():
		return stateDir{}, fmt.Errorf("state directory %s is not a directory; move it away or configure another", path)
	}
	if err := checkPrivate("state directory "+path, path, info, "700"); err != nil {
		return stateDir{}, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return stateDir{}, fmt.Errorf("open state directory: %w", err)
	}
	// OpenRoot follows links; what it opened has to be what was looked at.
	if opened, err := root.Stat("."); err != nil || !os.SameFile(info, opened) {
		root.Close()
		return stateDir{}, fmt.Errorf("state directory %s was replaced while it was being opened", path)
	}
	return stateDir{root}, nil
}

// createStateDir makes the directory where it is missing.
func createStateDir(path string) (stateDir, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return stateDir{}, fmt.Errorf("create state directory: %w", err)
		}
		if err := syncParent(path); err != nil {
			return stateDir{}, err
		}
	}
	return openStateDir(path)
}

func syncParent(path string) error {
	parent, err := os.OpenRoot(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return fmt.Errorf("open the parent of state directory %s to sync it: %w", path, err)
	}
	defer parent.Close()
	return durable.Sync(parent)
}

// checkPrivate wants what info describes to be this user's, and closed to all
// others. what is how messages call it; mode is chmod's argument.
func checkPrivate(what, path string, info fs.FileInfo, mode string) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: the system does not say whose it is", what)
	}
	if uid := os.Geteuid(); int(stat.Uid) != uid {
		return fmt.Errorf("%s belongs to user %d, and wgsteer runs as user %d; run: chown %d %s", what, stat.Uid, uid, uid, path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%s is open to other users (mode %04o); run: chmod %s %s", what, perm, mode, path)
	}
	return nil
}

func (d stateDir) close() { _ = d.root.Close() }

func (d stateDir) path(name string) string { return filepath.Join(d.root.Name(), name) }

// lock waits for other processes, and other Stores of this one, to finish what
// they write here: milliseconds, as nobody holds it longer than one write.
func (d stateDir) lock() (unlock func(), err error) {
	f, err := d.root.OpenFile("lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of state directory %s: %w", d.root.Name(), err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// read returns a file's content. It follows no link, waits for no pipe, and
// refuses a file that others can read or that belongs to someone else.
func (d stateDir) read(name string) ([]byte, error) {
	path := d.path(name)
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, fmt.Errorf("%s is a symbolic link, and those are not followed; replace it with the file it points to", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file; move it away", path)
	case info.Size() > maxStateFile:
		return nil, fmt.Errorf("%s has %d bytes, more than wgsteer ever writes there; move it away", path, info.Size())
	}
	if err := checkPrivate(path, path, info, "600"); err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) {
		// A replacement by another process that is rotating lands here as well.
		return nil, fmt.Errorf("%s: %w", path, errReplaced)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxStateFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

var errReplaced = errors.New("it was replaced while it was being opened; try again")

// setAside renames a file to the first free of NAME.corrupt-1, -2 and so on,
// and returns its new path. The caller holds the lock.
func (d stateDir) setAside(name string) (string, error) {
	for n := 1; ; n++ {
		aside := name + ".corrupt-" + strconv.Itoa(n)
		_, err := d.root.Lstat(aside)
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look at %s: %w", d.path(aside), err)
		}
		if err := d.root.Rename(name, aside); err != nil {
			return "", fmt.Errorf("set %s aside: %w", d.path(name), err)
		}
		return d.path(aside), nil
	}
}
