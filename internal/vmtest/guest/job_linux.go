package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/vmtest"
)

// environment is what every command gets.
var environment = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp"}

// work does the job and tells of it.
func work() error {
	line, err := openLine(vmtest.EventsPath)
	if err != nil {
		return err
	}
	defer line.Close()
	events := json.NewEncoder(line)
	if err := run(events); err != nil {
		return events.Encode(vmtest.Event{Failed: err.Error()})
	}
	return nil
}

func run(events *json.Encoder) error {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	if err := events.Encode(vmtest.Event{Up: strings.TrimSpace(string(release))}); err != nil {
		return err
	}
	job, err := readJob()
	if err != nil {
		return err
	}
	for _, name := range job.Load {
		if err := load(job.Modules, name); err != nil {
			return err
		}
	}
	for i, c := range job.Commands {
		if err := runCommand(events, i, c); err != nil {
			return err
		}
	}
	return nil
}

// runCommand runs one and sends its output, files and end. An error is one of
// sending.
func runCommand(events *json.Encoder, index int, c vmtest.Command) error {
	out := &sender{events, index}
	ended := start(out, c)
	for _, pattern := range c.Collect {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			ended.Problem = strings.TrimSpace(ended.Problem + "\n" + err.Error())
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				ended.Problem = strings.TrimSpace(ended.Problem + "\n" + err.Error())
				continue
			}
			if err := events.Encode(vmtest.Event{Command: index, File: &vmtest.File{Path: path, Data: data}}); err != nil {
				return err
			}
		}
	}
	return events.Encode(vmtest.Event{Command: index, Ended: &ended})
}

// start runs a command to its end.
func start(out *sender, c vmtest.Command) vmtest.Ended {
	ctx := context.Background()
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env = append(append([]string{}, environment...), c.Env...)
	cmd.Dir = c.Dir
	cmd.Stdout, cmd.Stderr = out, out // the same: exec then lets one goroutine write
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // for children that left the group and hold the output
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return vmtest.Ended{Exit: -1, Problem: fmt.Sprintf("killed after %v", c.Timeout)}
	case errors.As(err, &exit):
		return vmtest.Ended{Exit: exit.ExitCode()}
	case err != nil:
		return vmtest.Ended{Exit: -1, Problem: err.Error()}
	}
	return vmtest.Ended{}
}

// sender is a writer that makes events.
type sender struct {
	events  *json.Encoder
	command int
}

func (s *sender) Write(b []byte) (int, error) {
	if err := s.events.Encode(vmtest.Event{Command: s.command, Output: b}); err != nil {
		return 0, err
	}
	return len(b), nil
}

// openLine opens a serial line and keeps the terminal layer from changing what
// goes through it.
func openLine(path string) (*os.File, error) {
	line, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the line to the host: %w", err)
	}
	mode, err := unix.IoctlGetTermios(int(line.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the mode of %s: %w", path, err)
	}
	mode.Oflag &^= unix.OPOST
	mode.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(int(line.Fd()), unix.TCSETS, mode); err != nil {
		return nil, fmt.Errorf("set the mode of %s: %w", path, err)
	}
	return line, nil
}

func decode(text []byte, err error) (vmtest.Job, error) {
	if err != nil {
		return vmtest.Job{}, fmt.Errorf("read the job: %w", err)
	}
	var job vmtest.Job
	if err := json.Unmarshal(text, &job); err != nil {
		return vmtest.Job{}, fmt.Errorf("read the job: %w", err)
	}
	return job, nil
}
