package tundev_test

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/tundev"
)

// foreign makes a TUN as another program would; without flags, a descriptor
// that has no link.
func foreign(t *testing.T, name string, flags uint16) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "the descriptor")
	t.Cleanup(func() { f.Close() })
	if flags == 0 {
		return f
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAdopt(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	for flags, offloads := range map[uint16]bool{
		unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR: true,
		unix.IFF_TUN | unix.IFF_NO_PI:                     false,
	} {
		f := foreign(t, name, flags)
		if got, err := tundev.NameOf(f); got != name || err != nil {
			t.Fatalf("name %q, %v", got, err)
		}
		link, err := tundev.Open(tundev.Options{Name: name, File: f})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err == nil {
			t.Error("Open did not close the file")
		}
		if got := link.Stats().Offloads; slices.Contains(got, "tun-tso4") != offloads {
			t.Errorf("flags %#x: offloads %v", flags, got)
		}
		queue, err := link.Queue()
		if err != nil {
			t.Fatal(err)
		}
		ip(t, "link", "set", name, "addrgenmode", "none") // no router solicitation
		ip(t, "link", "set", name, "up")
		ip(t, "address", "add", "10.9.0.1/24", "dev", name)
		c := dial(t)
		send(t, c, "hello")
		if got := read(t, queue, queue.BatchSize()); len(got) != 1 || !strings.HasSuffix(got[0], "hello") {
			t.Errorf("flags %#x: read %q", flags, got)
		}
		if err := link.Close(); err != nil {
			t.Error(err)
		}
		if _, err := net.InterfaceByName(name); err == nil {
			t.Error("the link outlives Close")
		}
	}
}

func TestAdoptRefuses(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		file *os.File
		part string
	}{
		"no TUN":       {null, "is not the descriptor of a TUN: "},
		"no link":      {foreign(t, "", 0), "no link belongs to it"},
		"a TAP":        {foreign(t, "tap", unix.IFF_TAP|unix.IFF_NO_PI), "is a TAP, tap"},
		"another name": {foreign(t, "wgother", unix.IFF_TUN|unix.IFF_NO_PI), "take over link " + name + ": the descriptor is wgother's"},
	} {
		link, err := tundev.Open(tundev.Options{Name: name, File: tc.file})
		if err == nil {
			link.Close()
			t.Errorf("%s: opened", what)
		} else if !strings.Contains(err.Error(), tc.part) {
			t.Errorf("%s: error %q does not say %q", what, err, tc.part)
		}
	}
}
