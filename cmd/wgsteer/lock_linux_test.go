package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
)

func TestLock(t *testing.T) {
	c := configuration{RunDir: filepath.Join(t.TempDir(), "new"), Plane: dataplane.Config{Interface: "wg7"}}
	first, err := takeLock(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = takeLock(c)
	var running alreadyRunning
	if !errors.As(err, &running) || running.PID != os.Getpid() {
		t.Errorf("a second time: %v, want this process's id", err)
	}
	other := c
	other.Plane.Interface = "wg8"
	second, err := takeLock(other)
	if err != nil {
		t.Fatalf("another interface: %v", err)
	}
	if err := errors.Join(first.release(), second.release()); err != nil {
		t.Fatal(err)
	}
	again, err := takeLock(c)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := again.release(); err != nil {
		t.Error(err)
	}
}
