package vmtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const qemu = "qemu-system-x86_64"

// Report is what came out of a machine.
type Report struct {
	Release string        // the kernel's, from inside
	Boot    time.Duration // from starting qemu to process 1
	Results []Result      // one a Command, in their order, of those that ended
}

// Result is how a Command went. It worked if Exit is 0 and Problem is empty.
type Result struct {
	Ended
	Output []byte // standard output and standard error
	Files  map[string][]byte
	Took   time.Duration // seen from outside
}

// Missing is the reason why no machine can be run here at all; nil if one can.
func Missing() error {
	if _, err := exec.LookPath(qemu); err != nil {
		return fmt.Errorf("this needs %s (Debian's qemu-system-x86; scripts/setup vm installs it)", qemu)
	}
	return nil
}

// Run boots the machine, lets it run the commands, and returns when it is off.
// An error means that the machine did not come to the end of them; it holds the
// last lines of the kernel's log, and the report what there was until then. When
// ctx ends the machine is switched off hard.
func (m Machine) Run(ctx context.Context, commands []Command) (Report, error) {
	dir, err := os.MkdirTemp("", "wgsteer-vm-")
	if err != nil {
		return Report{}, fmt.Errorf("make a directory for the machine: %w", err)
	}
	defer os.RemoveAll(dir)
	initrd, console := filepath.Join(dir, "initrd"), filepath.Join(dir, "console")
	if err := m.writeTo(initrd, commands); err != nil {
		return Report{}, err
	}
	cmd := exec.CommandContext(ctx, qemu, m.arguments(initrd, console)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	events, err := cmd.StdoutPipe()
	if err != nil {
		return Report{}, fmt.Errorf("start %s: %w", qemu, err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return Report{}, fmt.Errorf("start %s: %w", qemu, err)
	}
	report, err := follow(events, len(commands), func() time.Duration { return time.Since(start) })
	if err != nil {
		_ = cmd.Process.Kill() // it may wait for someone to read its events
	}
	if ended := cmd.Wait(); err == nil && ended != nil {
		err = fmt.Errorf("%s: %w", qemu, ended)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		log, _ := os.ReadFile(console) // no log is no worse than the error
		err = fmt.Errorf("run %s: %w\n%s%s", m.Kernel.Package, err, complaints.String(), tail(string(log), 120))
	}
	return report, err
}

func (m Machine) writeTo(path string, commands []Command) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make the first file system: %w", err)
	}
	return errors.Join(m.write(f, commands), f.Close())
}

// arguments are qemu's. The kernel's log goes to the first serial line, a file;
// Events come out of the second, which is qemu's standard output. A guest that
// restarts or panics ends qemu.
func (m Machine) arguments(initrd, console string) []string {
	memory, cpus := m.MemoryMiB, m.CPUs
	if memory == 0 {
		memory = 1024
	}
	if cpus == 0 {
		cpus = 2
	}
	return []string{
		"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
		"-smp", strconv.Itoa(cpus), "-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "file:" + console, "-serial", "stdio",
		"-kernel", m.Kernel.Image, "-initrd", initrd,
		// reboot=t is the way out that asks no device; the clocks need no calibration here.
		"-append", "console=ttyS0 loglevel=5 panic=-1 reboot=t mitigations=off tsc=reliable no_timer_check",
	}
}

// follow reads events until the machine is off, and asks for the time of some.
func follow(events io.Reader, commands int, clock func() time.Duration) (Report, error) {
	var report Report
	var began time.Duration
	current := Result{Files: map[string][]byte{}}
	decoder := json.NewDecoder(events)
	for {
		var e Event
		err := decoder.Decode(&e)
		switch {
		case err == io.EOF && report.Release == "":
			return report, errors.New("it never came to process 1")
		case err == io.EOF && len(report.Results) < commands:
			return report, fmt.Errorf("it ended in command %d of %d; so far:\n%s", len(report.Results)+1, commands, current.Output)
		case err == io.EOF:
			return report, nil
		case err != nil:
			return report, fmt.Errorf("read an event: %w", err)
		case e.Failed != "":
			return report, errors.New(e.Failed)
		case e.Up != "":
			report.Release, report.Boot = e.Up, clock()
			began = report.Boot
		case e.File != nil:
			current.Files[e.File.Path] = e.File.Data
		case e.Ended != nil:
			current.Ended, current.Took = *e.Ended, clock()-began
			began = clock()
			report.Results = append(report.Results, current)
			current = Result{Files: map[string][]byte{}}
		default:
			current.Output = append(current.Output, e.Output...)
		}
	}
}

// tail is the last lines of a text.
func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
