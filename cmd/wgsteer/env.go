package main

import (
	"io"
	"os"
	"os/signal"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// env is all that a command may know of the process it runs in, so that tests
// can be that process.
type env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Hostname       func() (string, error)
	// StdoutTerminal and StderrTerminal allow colours and progress there.
	StdoutTerminal, StderrTerminal bool
	// Signals delivers the given signals until stop is called.
	Signals func(sigs ...os.Signal) (delivered <-chan os.Signal, stop func())
	// Notify sends a message to the service manager, if there is one.
	Notify func(message string) error
	// Watchdog is how often the service manager wants a sign of life; 0 is
	// never.
	Watchdog func() (time.Duration, error)
}

func osEnv() *env {
	return &env{
		Stdin:          os.Stdin,
		Stdout:         os.Stdout,
		Stderr:         os.Stderr,
		Getenv:         os.Getenv,
		Hostname:       os.Hostname,
		StdoutTerminal: isTerminal(os.Stdout),
		StderrTerminal: isTerminal(os.Stderr),
		Signals:        osSignals,
		Notify: func(message string) error {
			_, err := systemd.SdNotify(false, message)
			return err
		},
		Watchdog: func() (time.Duration, error) { return systemd.SdWatchdogEnabled(false) },
	}
}

// osSignals keeps two signals for a slow reader: the request to stop and the
// second, impatient one.
func osSignals(sigs ...os.Signal) (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, sigs...)
	return c, func() { signal.Stop(c) }
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// colours says whether to colour what goes to stdout; see https://no-color.org.
func (e *env) colours() bool {
	return e.StdoutTerminal && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"
}
