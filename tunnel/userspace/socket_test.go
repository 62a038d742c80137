package userspace

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func listen(t *testing.T, dir string) *socket {
	t.Helper()
	s, err := listenUAPI(dir, "wgt0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSocketIsRootsAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wireguard")
	s := listen(t, dir)
	for path, want := range map[string]os.FileMode{dir: os.ModeDir | 0o755, s.path: os.ModeSocket | 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(s.path); !os.IsNotExist(err) {
		t.Errorf("the path is left over: %v", err)
	}
}

func TestSocketOfTheDeadIsReplaced(t *testing.T) {
	dir := t.TempDir()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "wgt0.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	listen(t, dir)
}

func TestSocketOfTheLivingStays(t *testing.T) {
	dir := t.TempDir()
	s := listen(t, dir)
	if _, err := listenUAPI(dir, "wgt0"); err == nil || !strings.Contains(err.Error(), s.path) || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("error %v", err)
	}
	if c, err := net.Dial("unix", s.path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

func TestSocketLeavesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "wgt0.sock"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUAPI(dir, "wgt0"); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("error %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "wgt0.sock")); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

// A successor may have taken the path over; closing leaves it in place.
func TestSocketLeavesSuccessorAlone(t *testing.T) {
	dir := t.TempDir()
	s := listen(t, dir)
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	successor := listen(t, dir)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("unix", successor.path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

func TestSocketServes(t *testing.T) {
	s := listen(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- s.serve(ctx, func(c net.Conn) { defer c.Close(); _, _ = io.Copy(c, c) })
	}()
	var clients []net.Conn
	for range 3 {
		c, err := net.Dial("unix", s.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
		answer := make([]byte, 5)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "hello" {
			t.Fatalf("answer %q, %v", answer, err)
		}
	}
	cancel()
	if err := <-ended; err != nil { // though the clients are still connected
		t.Errorf("serve: %v", err)
	}
	for _, c := range clients {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection outlives serve")
		}
	}
}
