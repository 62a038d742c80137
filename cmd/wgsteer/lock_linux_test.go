package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
)

func lockConfig(dir string) configuration {
	return configuration{RunDir: dir, Plane: dataplane.Config{Interface: "wg7"}}
}

func TestLock(t *testing.T) {
	c := lockConfig(filepath.Join(t.TempDir(), "new"))
	first, err := takeLock(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = takeLock(c)
	var running alreadyRunning
	if !errors.As(err, &running) || running.PID != os.Getpid() {
		t.Errorf("a second time: %v, want this process's id", err)
	}
	if err := lookAtLock(c); !errors.As(err, &running) || running.PID != os.Getpid() {
		t.Errorf("a look: %v, want this process's id", err)
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
	if err := lookAtLock(c); err != nil {
		t.Errorf("a look after the release: %v", err)
	}
	again, err := takeLock(c)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := again.release(); err != nil {
		t.Error(err)
	}
}

// A daemon that was killed holds its lock for a moment yet; one that lives,
// for longer than anybody waits.
func TestLockIsWaitedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		holds time.Duration
		ok    bool
	}{
		"dying":  {lockPatience / 2, true},
		"living": {2 * lockPatience, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := lockConfig(t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				first, err := takeLock(c)
				if err != nil {
					t.Fatal(err)
				}
				released := make(chan error)
				go func() {
					time.Sleep(tt.holds)
					released <- first.release()
				}()
				second, err := takeLock(c)
				var running alreadyRunning
				if tt.ok && err != nil || !tt.ok && !errors.As(err, &running) {
					t.Errorf("while it is held for %s: %v", tt.holds, err)
				}
				if err := <-released; err != nil {
					t.Error(err)
				}
				if second != nil {
					if err := second.release(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// A look makes neither runDir nor a file in it.
func TestLookAtLockMakesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []configuration{lockConfig(dir), lockConfig(filepath.Join(dir, "new"))} {
		if err := lookAtLock(c); err != nil {
			t.Errorf("runDir %s: %v", c.RunDir, err)
		}
	}
	if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
		t.Errorf("made %v, %v", made, err)
	}
}

// A runDir that is a file is told by all who look into it.
func TestRunDirIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "run")} {
		if err := lookAtLock(lockConfig(dir)); err == nil || !strings.HasSuffix(err.Error(), ": not a directory; remove that file, or set runDir to a directory") {
			t.Errorf("a look into runDir %s: %v", dir, err)
		}
		if _, err := newControlClient(lockConfig(dir)).status(t.Context()); err == nil || !strings.HasSuffix(err.Error(), ": not a directory; remove that file, or set runDir to a directory") {
			t.Errorf("status with runDir %s: %v", dir, err)
		}
		_, err := takeLock(lockConfig(dir))
		want := "take the lock of interface wg7 in runDir: mkdir " + file + ": not a directory; remove that file, or set runDir to a directory"
		if err == nil || err.Error() != want {
			t.Errorf("runDir %s: %v, want %s", dir, err, want)
		}
	}
}
