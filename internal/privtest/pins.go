package privtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	bpffs  = "/sys/fs/bpf"
	prefix = "wgsteer-test-" // then the process id, a dash and a random number
)

// Pins makes a directory on the host's bpffs for a TestMain, which has no
// testing.TB; the caller calls remove. What killed runs left is removed first.
func Pins() (dir string, remove func() error, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(bpffs, &fs); err != nil || fs.Type != unix.BPF_FS_MAGIC {
		return "", nil, fmt.Errorf("no bpffs is mounted on %s (scripts/setup mounts it)", bpffs)
	}
	if err := sweep(bpffs); err != nil {
		return "", nil, err
	}
	dir, err = os.MkdirTemp(bpffs, fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		return "", nil, fmt.Errorf("make a directory on the bpffs: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// sweep removes the directories of processes that are gone.
func sweep(root string) error {
	left, err := filepath.Glob(filepath.Join(root, prefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		if n, err := strconv.Atoi(pid); err != nil || !errors.Is(unix.Kill(n, 0), unix.ESRCH) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove what a killed run left: %w", err)
		}
	}
	return nil
}
