package kubee2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"
)

// The process that beContainer becomes is in its node's network namespace and mount
// namespace, and the first of a process namespace. It makes itself a file system as a
// container runtime does for an image FROM scratch, gives up what the container is not
// to have, and executes the container's command.
//
// asContainer is its first argument, asExec that of one that joins a container.
const (
	asContainer = "wgsteer-kubee2e-container"
	asExec      = "wgsteer-kubee2e-exec"
)

// task is what such a process has to do.
type task struct {
	Container container
	Node      string // its name, and so the host's
	HostRoot  string // where the node's file system is
	Root      string // an empty directory for the container's
	Binary    string // the image's wgsteer
	Mark      string // a variable by which its lab knows it
	PID       int    // asExec: of a process of the container, as /proc has it
}

func beContainer(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	runtime.LockOSThread() // what follows is the thread's, and its command's
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Sethostname([]byte(t.Node)); err != nil {
		return err
	}
	if err := t.fileSystem(); err != nil {
		return err
	}
	if err := unix.PivotRoot(t.Root, t.Root); err != nil {
		return fmt.Errorf("make %s the root: %w", t.Root, err)
	}
	if err := unix.Unmount("/", unix.MNT_DETACH); err != nil { // the old one lies upon the new one
		return fmt.Errorf("leave the old root: %w", err)
	}
	return t.execute()
}

// beExec runs the further arguments as a command in a running container, in whose
// process namespace it is.
func beExec(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	// The mounts go last: after them, this /proc is gone.
	for _, name := range []string{"net", "uts", "mnt"} {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", t.PID, name))
		if err != nil {
			return fmt.Errorf("find the container: %w", err)
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), 0); err != nil {
			return fmt.Errorf("enter the container: %w", err)
		}
	}
	t.Container.Args = os.Args[3:]
	return t.execute()
}

// execute gives up capabilities and runs the command.
func (t task) execute() error {
	if err := os.Chdir("/"); err != nil {
		return err
	}
	known, err := capability.ListSupported()
	if err != nil {
		return err
	}
	var left []string
	for _, c := range known {
		name := strings.ToUpper(c.String())
		if slices.Contains(t.Container.Capabilities, name) {
			left = append(left, name)
		} else if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("drop %s: %w", name, err)
		}
	}
	if len(left) != len(t.Container.Capabilities) {
		return fmt.Errorf("of the capabilities %v there are only %v", t.Container.Capabilities, left)
	}
	if t.Container.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	path, err := t.find(t.Container.Args[0])
	if err != nil {
		return err
	}
	err = syscall.Exec(path, t.Container.Args, append(t.Container.Env, t.Mark))
	return fmt.Errorf("execute %q: %w", t.Container.Args, err)
}

// find looks a command up in the container's PATH.
func (t task) find(command string) (string, error) {
	for _, v := range t.Container.Env {
		if name, value, _ := strings.Cut(v, "="); name == "PATH" {
			if err := os.Setenv(name, value); err != nil {
				return "", err
			}
		}
	}
	return exec.LookPath(command)
}

// fileSystem puts the container's together at t.Root.
func (t task) fileSystem() error {
	if err := unix.Mount("tmpfs", t.Root, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount a root: %w", err)
	}
	for _, step := range []func() error{t.image, t.kernelFiles, t.devices, t.volumes} {
		if err := step(); err != nil {
			return err
		}
	}
	if !t.Container.ReadOnlyRoot {
		return nil
	}
	return unix.Mount("", t.Root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

func (t task) image() error {
	if err := t.bind(t.Binary, entrypoint[0], true); err != nil {
		return err
	}
	for name, text := range map[string]string{"etc/hosts": "127.0.0.1 localhost\n::1 localhost\n", "etc/hostname": t.Node + "\n", "etc/resolv.conf": ""} {
		path := filepath.Join(t.Root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// kernelFiles are /proc and /sys, the latter of the node's network namespace.
func (t task) kernelFiles() error {
	for _, kind := range []string{"proc", "sys"} {
		if err := os.Mkdir(filepath.Join(t.Root, kind), 0o755); err != nil {
			return err
		}
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", filepath.Join(t.Root, "proc"), "proc", flags, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("sysfs", filepath.Join(t.Root, "sys"), "sysfs", flags|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	for _, name := range []string{"proc/sys", "proc/sysrq-trigger", "proc/irq", "proc/bus"} {
		path := filepath.Join(t.Root, name)
		if err := bind(path, path, true); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (t task) devices() error {
	dev := filepath.Join(t.Root, "dev")
	if err := os.Mkdir(dev, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	for _, name := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"} {
		if err := t.bind(name, name, false); err != nil {
			return err
		}
	}
	return nil
}

func (t task) volumes() error {
	for _, m := range t.Container.Mounts {
		// /var/run leads to /run, on the node as on any.
		source, err := filepath.EvalSymlinks(filepath.Join(t.HostRoot, m.Source))
		if err != nil {
			return fmt.Errorf("find what is to be mounted at %s: %w", m.Target, err)
		}
		if err := t.bind(source, m.Target, m.ReadOnly); err != nil {
			return err
		}
	}
	return nil
}

// bind mounts source at target in the container, which is made where it is missing.
func (t task) bind(source, target string, readOnly bool) error {
	at := filepath.Join(t.Root, target)
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("find what is to be mounted at %s: %w", target, err)
	}
	if _, err = os.Stat(at); errors.Is(err, os.ErrNotExist) {
		if info.IsDir() {
			err = os.MkdirAll(at, 0o755)
		} else {
			err = errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, nil, 0o644))
		}
	}
	if err != nil {
		return fmt.Errorf("make a place for %s: %w", target, err)
	}
	return bind(source, at, readOnly)
}
