package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestTunnelPassed is a service manager: it makes TUN and UAPI socket, and
// starts the tunnel on them, in the foreground or so that it goes to the
// background.
func TestTunnelPassed(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	for _, how := range []string{"-f", "--foreground=false"} {
		socket := filepath.Join(t.TempDir(), "socket")
		listener, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		uapi, err := listener.(*net.UnixListener).File()
		if err != nil {
			t.Fatal(err)
		}
		tun := newTUN(t, "wgpassed")
		cmd := exec.Command("wgsteer", "tunnel", how, "other")
		cmd.ExtraFiles = []*os.File{tun, nil, uapi}
		cmd.Env = append(os.Environ(), "WG_TUN_FD=3", "WG_UAPI_FD=5")
		var errs strings.Builder
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The process now holds the only descriptors.
		listener.(*net.UnixListener).SetUnlinkOnClose(false)
		if how != "-f" {
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %s", err, &errs)
			}
		}
		if err := errors.Join(tun.Close(), uapi.Close(), listener.Close()); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		fmt.Fprint(c, "set=1\nlisten_port=51001\n\n")
		answer := make([]byte, 100)
		if n, err := c.Read(answer); err != nil || string(answer[:n]) != "errno=0\n\n" {
			t.Fatalf("%s: answer %q, %v", how, answer[:n], err)
		}
		c.Close()
		command(t, "ip", "link", "set", "wgpassed", "up")
		await(t, "UDP port", func() bool { return strings.Contains(command(t, "ss", "-Hulnp"), ":51001 ") })
		if out := command(t, "ip", "link", "show", "wgpassed"); !strings.Contains(out, "mtu 1420") {
			t.Errorf("%s: MTU: %s", how, out)
		}
		command(t, "ip", "link", "delete", "wgpassed")
		await(t, "end", func() bool { _, err := os.Lstat(socket); return os.IsNotExist(err) })
		if how == "-f" {
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, &errs)
			}
		}
	}
}

// newTUN makes one as another program would.
func newTUN(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, ifr); err != nil {
		t.Fatal(err)
	}
	return f
}
