package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/wgsteer/wgsteer/tunnel/userspace"
)

// A process that goes to the background starts itself once more, in the
// foreground, and waits until that one reports through a pipe, whose descriptor
// this variable names: readyReport, or why it failed.
const (
	reportEnv   = "WGSTEER_REPORT_FD"
	readyReport = "ready"
	// firstPassed is the number of the first descriptor that is passed on, after
	// the standard ones.
	firstPassed = 3
)

// tunnelInBackground starts the tunnel in a process of its own and returns when
// it is ready.
func tunnelInBackground(env *env, o userspace.Options) error {
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, to start it in the background: %w", err)
	}
	report, reportTo, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe for the background process: %w", err)
	}
	defer report.Close()
	cmd := exec.Command(path, "tunnel", "--", o.Interface) // a name may begin with "-"
	cmd.Args[0] = os.Args[0]
	cmd.Dir = "/"                                        // keep no file system busy
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is not meant for it
	cmd.Env = append(os.Environ(), foregroundEnv+"=1")
	pass := func(key string, f *os.File) {
		if f != nil {
			cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", key, firstPassed+len(cmd.ExtraFiles)))
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		}
	}
	pass(reportEnv, reportTo)
	pass(tunEnv, o.TUN)
	pass(uapiEnv, o.UAPI)
	if level := env.Getenv("LOG_LEVEL"); level != "" && level != "silent" {
		cmd.Stdout, cmd.Stderr = env.Stdout, env.Stderr
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start the background process: %w", err), reportTo.Close())
	}
	reportTo.Close()
	text, err := io.ReadAll(report)
	if err == nil && string(text) == readyReport {
		return cmd.Process.Release()
	}
	return backgroundError(string(text), errors.Join(err, cmd.Wait()))
}

// backgroundError is why a background process that has ended was not ready.
func backgroundError(report string, ended error) error {
	if report == "" {
		return fmt.Errorf("the background process ended before it was ready: %w; -f shows what it says", ended)
	}
	err := errors.New(report)
	var exit *exec.ExitError
	if errors.As(ended, &exit) && exit.ExitCode() == exitUsage {
		return usageError{err}
	}
	return err
}

// parentReport tells the process that waits for this one, if there is one.
type parentReport struct{ pipe *os.File }

func reportToParent(getenv func(string) string) (parentReport, error) {
	pipe, err := inherited(getenv, reportEnv)
	return parentReport{pipe}, err
}

func (r parentReport) ready() error { return r.write(readyReport) }

// failed tells err, and returns what this process is to end with: the other one
// prints it.
func (r parentReport) failed(err error) error {
	if r.pipe == nil || err == nil {
		return err
	}
	return errors.Join(errSilent, r.write(err.Error()))
}

func (r parentReport) write(text string) error {
	if r.pipe == nil {
		return nil
	}
	_, err := io.Copy(r.pipe, strings.NewReader(text))
	if err := errors.Join(err, r.pipe.Close()); err != nil {
		return fmt.Errorf("report to the process that started this one: %w", err)
	}
	return nil
}
