package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// sweep removes the labs whose owners died and did not detach them. The lock is
// held.
func sweep() error {
	runs, err := Runs()
	if err != nil {
		return err
	}
	var errs []error
	for _, run := range runs {
		s, err := readState(run)
		switch {
		case err == nil && (s.Detached || s.Owner.alive()):
			continue
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			// Half written or not ours to judge: say so rather than remove it.
			errs = append(errs, fmt.Errorf("%w (remove %s if no lab uses it)", err, labDir(run)))
			continue
		}
		if _, err := remove(run); err != nil {
			errs = append(errs, fmt.Errorf("remove what lab %s left: %w", run, err))
		}
	}
	return errors.Join(errs...)
}

// remove takes away everything that carries the lab's name; its state goes last,
// so that whoever comes next can go on where this failed. It returns the
// processes that somebody else brought into the lab, which still hold its
// unnamed namespaces. The lock is held.
func remove(run string) (strangers []string, err error) {
	spaces, err := filepath.Glob(filepath.Join(netnsDir, namespacePrefix(run)+"*"))
	if err != nil {
		return nil, err
	}
	strangers, err = endProcesses(run, spaces)
	errs := []error{err}
	for _, path := range spaces {
		// EINVAL: not a mount point, the lab died between making file and mount.
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
			continue
		}
		errs = append(errs, os.Remove(path))
	}
	sockets, err := filepath.Glob(uapiSockets(run))
	errs = append(errs, err)
	for _, s := range sockets {
		errs = append(errs, os.Remove(s))
	}
	errs = append(errs, os.RemoveAll(pinsDir(run)))
	if err := errors.Join(errs...); err != nil {
		return strangers, err
	}
	return strangers, os.RemoveAll(labDir(run))
}

// onBPFFS tells whether path is on a mounted bpffs.
func onBPFFS(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.BPF_FS_MAGIC
}
