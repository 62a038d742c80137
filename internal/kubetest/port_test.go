package kubetest

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// A port that is kept goes to nobody who takes any, and its server may have it, and
// have it again.
func TestKeepPort(t *testing.T) {
	h := privtest.NewHost(t, syscall.CLONE_NEWNET)
	h.Sh(t, "echo 40000 40003 >/proc/sys/net/ipv4/ip_local_port_range") // there are no others
	h.Do(func() {
		far, err := net.Listen("tcp", "127.0.0.1:1000")
		if err != nil {
			t.Error(err)
			return
		}
		defer far.Close()
		connect := func() error {
			c, err := net.DialTCP("tcp", nil, far.Addr().(*net.TCPAddr))
			if err == nil {
				c.SetLinger(0) // its port is free again at once
				c.Close()
			}
			return err
		}
		seen := map[int]bool{}
		for range 4 {
			if err := connect(); err != nil {
				t.Errorf("while ports are free: %v", err)
			}
			p, err := keepPort()
			if err != nil {
				t.Error(err)
				return
			}
			defer p.release()
			seen[p.number] = true
		}
		if len(seen) != 4 {
			t.Errorf("ports %v are kept, want 4", seen)
		}
		if l, err := net.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("somebody listens on a port that is kept: %v, %v", l, err)
		}
		if err := connect(); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("somebody connects from a port that is kept: %v", err)
		}
		if _, err := keepPort(); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a port is kept twice: %v", err)
		}
		for number := range seen {
			for range 2 {
				l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", number))
				if err != nil {
					t.Errorf("the server: %v", err)
					break
				}
				l.Close()
			}
		}
	})
}

// How a process ended is told with its log: one that was killed says nothing of it.
func TestAlive(t *testing.T) {
	p, err := start(exec.Command("sh", "-c", "echo so far; kill -9 $$"), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if err := p.alive(); err == nil || !strings.Contains(err.Error(), "signal: killed") || !strings.Contains(err.Error(), "so far") {
		t.Errorf("got %v", err)
	}
}
