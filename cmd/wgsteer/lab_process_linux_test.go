package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startShell starts a shell script and waits for the line that it prints.
func startShell(t *testing.T, script string) *labProcess {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Stdout = w
	p, err := startLabProcess(cmd, cmd.Start)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
		checkEnds(t, p)
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatalf("the script said %q: %v", line, err)
	}
	return p
}

func checkEnds(t *testing.T, p *labProcess) {
	t.Helper()
	if ended, err := p.ended(time.Minute); err != nil || !ended {
		t.Errorf("ended %v, %v; want that it ended", ended, err)
	}
}

func TestLabProcessStop(t *testing.T) {
	p := startShell(t, "echo; exec sleep 600")
	if ended, err := p.ended(0); err != nil || ended {
		t.Fatalf("ended %v, %v, before it was asked to", ended, err)
	}
	if err := p.stop(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
	checkEnds(t, p)
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", p.pid)); !os.IsNotExist(err) {
		t.Errorf("a zombie is left: %v", err)
	}
	if err := p.stop(t.Context(), time.Minute); err != nil {
		t.Errorf("stopping what has gone: %v", err)
	}
}

func TestLabProcessThatWillNotStop(t *testing.T) {
	const deaf = "trap '' TERM; echo; while :; do sleep 0.05; done"
	p := startShell(t, deaf)
	err := p.stop(t.Context(), 200*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("error %v, want that it was killed", err)
	}
	checkEnds(t, p)

	p = startShell(t, deaf)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.stop(ctx, time.Hour); err == nil {
		t.Error("a process killed for want of time is no error")
	}
	checkEnds(t, p)
}

// TestLabProcessOfAnother: who did not start a process can stop it too.
func TestLabProcessOfAnother(t *testing.T) {
	started := startShell(t, "echo; exec sleep 600")
	p, err := openLabProcess(started.pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.stop(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
	checkEnds(t, started)
}
