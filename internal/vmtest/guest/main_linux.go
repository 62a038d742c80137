// Command guest is process 1 of a virtual machine of package vmtest: it mounts
// what programs expect, loads modules, runs the commands of the job one after
// the other, sends what they print and leave, and ends the machine. It runs
// nowhere else.
//
// As process 1 it only waits for orphans; the work is done by a child of the same
// program (job_linux.go), so that it may die without the kernel panicking. As
// /sbin/modprobe it loads what the kernel asks for (modules_linux.go).
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/vmtest"
)

const worker = "worker" // the argument of the child that does the work

func main() {
	var err error
	switch {
	case filepath.Base(os.Args[0]) == "modprobe":
		err = modprobe(os.Args[1:])
	case len(os.Args) == 2 && os.Args[1] == worker:
		err = work()
	case os.Getpid() == 1:
		err = supervise()
	default:
		err = errors.New("this is process 1 of a virtual machine, made by package vmtest")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
		os.Exit(1)
	}
}

// supervise runs the worker, reaps whatever else ends meanwhile, and restarts
// the machine, which qemu takes for its end.
func supervise() error {
	if err := mountAll(); err != nil {
		return err
	}
	p, err := os.StartProcess(os.Args[0], []string{os.Args[0], worker}, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	for {
		pid, err := unix.Wait4(-1, nil, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the worker: %w", err)
		}
		if pid == p.Pid {
			return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		}
	}
}

// mounts are in the order in which they have to be made.
var mounts = []struct{ kind, on string }{
	{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"},
	{"tmpfs", "/tmp"}, {"tmpfs", "/run"}, {"bpf", "/sys/fs/bpf"},
}

func mountAll() error {
	for _, m := range mounts {
		if err := unix.Mount(m.kind, m.on, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.on, err)
		}
	}
	return nil
}

// readJob is called after the mounts, by the worker and by modprobe.
func readJob() (vmtest.Job, error) {
	return decode(os.ReadFile(vmtest.JobPath))
}
