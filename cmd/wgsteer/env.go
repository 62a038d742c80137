package main

import (
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// env is all that a command may know of the process it runs in, so that tests
// can be that process.
type env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// StdoutTerminal and StderrTerminal allow colours and progress there.
	StdoutTerminal, StderrTerminal bool
	// Signals delivers the given signals until stop is called.
	Signals func(sigs ...os.Signal) (delivered <-chan os.Signal, stop func())
}

func osEnv() *env {
	return &env{
		Stdin:          os.Stdin,
		Stdout:         os.Stdout,
		Stderr:         os.Stderr,
		Getenv:         os.Getenv,
		StdoutTerminal: isTerminal(os.Stdout),
		StderrTerminal: isTerminal(os.Stderr),
		Signals:        osSignals,
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
