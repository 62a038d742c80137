package kubee2e_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The process that beHost becomes has a mount namespace of its own, in which the node's
// file system is below a directory: as much of one as the product's pods see. Its bpffs
// is an instance of its own. All of it lasts as long as the process, which lasts until
// its standard input ends: until the test does, however it ends.
//
// asHost is its first argument.
const asHost = "wgsteer-kubee2e-host"

// beHost prepares the mounts, says so and waits.
func beHost(root string) error {
	if err := hostMounts(root); err != nil {
		return err
	}
	if _, err := fmt.Println("ready"); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func hostMounts(root string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to this process: %w", err)
	}
	bpffs := filepath.Join(root, "sys/fs/bpf")
	for _, dir := range []string{bpffs, filepath.Join(root, "run"), filepath.Join(root, "var/lib"), filepath.Join(root, "dev/net")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount a bpffs: %w", err)
	}
	if err := os.Symlink("../run", filepath.Join(root, "var/run")); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	tun := filepath.Join(root, "dev/net/tun")
	if err := os.WriteFile(tun, nil, 0o600); err != nil {
		return err
	}
	return bind("/dev/net/tun", tun, false)
}

// bind mounts what is at source at target, which has to be there.
func bind(source, target string, readOnly bool) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", source, target, err)
	}
	if !readOnly {
		return nil
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}
