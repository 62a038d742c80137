package userspace_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
)

// standalone is such a tunnel, in the process's own network namespace.
type standalone struct {
	*privtest.Host
	*userspace.Tunnel
	socket string
	cancel context.CancelFunc
	ended  chan error
}

func newStandalone(t *testing.T, o userspace.Options) *standalone {
	t.Helper()
	s := &standalone{Host: privtest.NewHost(t, 0), ended: make(chan error, 1)}
	if o.UAPIDir == "" {
		o.UAPIDir = t.TempDir()
	}
	o.Interface, o.Standalone = "wga", true
	s.socket = filepath.Join(o.UAPIDir, "wga.sock")
	var err error
	if s.Tunnel, err = userspace.New(o); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	t.Cleanup(s.cancel)
	go func() { s.ended <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-s.ended:
		t.Fatalf("ended: %v", err)
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return s
}

// uapi sends a request and returns the answer.
func (s *standalone) uapi(t *testing.T, request string) string {
	t.Helper()
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request+"\n\n"); err != nil {
		t.Fatal(err)
	}
	var answer strings.Builder
	for b := make([]byte, 4096); !strings.HasSuffix(answer.String(), "\n\n"); {
		n, err := c.Read(b)
		if err != nil {
			t.Fatalf("%q: %v", answer.String(), err)
		}
		answer.Write(b[:n])
	}
	return answer.String()
}

// listens waits until the tunnel has the port, or none with 0.
func (s *standalone) listens(t *testing.T, port uint16) {
	t.Helper()
	is := ""
	want := func() bool {
		is = s.Sh(t, "ss -Hulnp")
		return strings.Contains(is, fmt.Sprintf(":%d ", port)) || port == 0 && is == ""
	}
	until(t, fmt.Sprintf("UDP port %d", port), want)
}

func (s *standalone) end(t *testing.T) {
	t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Run does not end")
	}
	if _, err := net.InterfaceByName("wga"); err == nil {
		t.Error("the link is left over")
	}
	if _, err := os.Lstat(s.socket); !os.IsNotExist(err) {
		t.Errorf("the UAPI socket is left over: %v", err)
	}
}

// The port is open while the link is up.
func TestStandaloneFollowsTheLink(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s := newStandalone(t, userspace.Options{})
	if link, err := s.Link(); err != nil || link.MTU != 1420 {
		t.Errorf("link %+v, %v", link, err)
	}
	for what, err := range map[string]error{
		"Apply": s.Apply(t.Context(), tunnel.Config{PrivateKey: newKey(t)}), "Greet": s.Greet(newKey(t).Public()),
	} {
		if err == nil || !strings.Contains(err.Error(), "is configured with wg(8)") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := s.uapi(t, "set=1\nlisten_port=51001"); got != "errno=0\n\n" {
		t.Fatal(got)
	}
	s.listens(t, 0)
	for range 2 {
		s.Sh(t, "ip link set wga up")
		s.listens(t, 51001)
		s.Sh(t, "ip link set wga down")
		s.listens(t, 0)
	}
	s.cancel()
	s.end(t)
}

// A port that is taken is opened once it is free; a change to one leaves the
// tunnel with the one it has.
func TestStandalonePortIsTaken(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	s := newStandalone(t, userspace.Options{})
	taken, err := net.ListenPacket("udp4", ":51001")
	if err != nil {
		t.Fatal(err)
	}
	s.uapi(t, "set=1\nlisten_port=51001")
	s.Sh(t, "ip link set wga up")
	time.Sleep(600 * time.Millisecond) // for it to try, and again
	taken.Close()
	s.listens(t, 51001)

	if taken, err = net.ListenPacket("udp4", ":51002"); err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if got := s.uapi(t, "set=1\nlisten_port=51002"); got == "errno=0\n\n" {
		t.Error("a port that is taken was set")
	}
	until(t, "the old port", func() bool { return strings.Contains(s.uapi(t, "get=1"), "listen_port=51001\n") })
	until(t, "a reader", func() bool { return s.stats(t).Failing == "" })
}

func (s *standalone) stats(t *testing.T) tunnel.Stats {
	t.Helper()
	got, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStandaloneEnds(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	dir := t.TempDir()
	for _, how := range []string{"ip link delete wga", "rm " + filepath.Join(dir, "wga.sock")} {
		s := newStandalone(t, userspace.Options{UAPIDir: dir})
		s.Sh(t, "ip link set wga up; %s", how)
		s.end(t)
	}
}

// Who deletes the link may use the name at once, port and all.
func TestStandaloneNameAtOnce(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	dir := t.TempDir()
	for range 10 {
		s := newStandalone(t, userspace.Options{UAPIDir: dir})
		s.uapi(t, "set=1\nlisten_port=51001")
		s.Sh(t, "ip link set wga up")
		s.listens(t, 51001)
		s.Sh(t, "ip link delete wga")
	}
}

// A process that is about to end may still have the socket.
func TestStandaloneWaitsForItsName(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	dir := t.TempDir()
	old, err := net.Listen("unix", filepath.Join(dir, "wga.sock"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for { // the new one makes its link first
			if _, err := net.InterfaceByName("wga"); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_, _ = old.Accept() // and asks whether somebody is there
		old.Close()
	}()
	newStandalone(t, userspace.Options{UAPIDir: dir})
}

func TestStandaloneWithPassedSocket(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "wga.sock"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	s := newStandalone(t, userspace.Options{UAPIDir: dir, UAPI: f})
	if got := s.uapi(t, "get=1"); !strings.HasSuffix(got, "errno=0\n\n") {
		t.Error(got)
	}
	s.cancel()
	s.end(t)
}

func TestPassedSocketIsChecked(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	f, err := udp.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for what, o := range map[string]userspace.Options{
		"is no Unix stream socket that listens": {Interface: "wga", Standalone: true, UAPI: f},
		"for a standalone tunnel alone":         {Interface: "wga", UAPI: f},
	} {
		if _, err := userspace.New(o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want %q", err, what)
		}
	}
}
