package wire_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/wire"
)

// TestProbe: a capture sees its own probe leave, and takes no other for it.
func TestProbe(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	probe, other := wire.NewProbe(), wire.NewProbe()
	capture, err := wire.Open(wire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []wire.Probe{other, probe} {
		if err := p.Send(*lo); err != nil {
			t.Fatal(err)
		}
	}
	var mine, others, looped int
	lost := run(t, capture, func(f wire.Frame) (enough bool) {
		switch {
		case f.Device != lo.Index:
			t.Errorf("a frame of device %d, want %d", f.Device, lo.Index)
		case probe.Is(f):
			mine++
		case other.Is(f):
			others++
		case !f.Outgoing: // what leaves by lo arrives there
			looped++
		}
		return mine+others+looped == 4
	})
	if mine != 1 || others != 1 || looped != 2 || lost != 0 {
		t.Errorf("saw the probe %d times, the other %d, %d arrive, lost %d; want 1, 1, 2, 0", mine, others, looped, lost)
	}
	if err := probe.Send(net.Interface{Index: 4711, Name: "none"}); err == nil {
		t.Error("a device that does not exist sent a probe")
	}
}

// run runs a capture until see has enough, at most a minute.
func run(t *testing.T, c *wire.Capture, see func(wire.Frame) (enough bool)) (lost uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lost, err := c.Run(ctx, func(f wire.Frame) {
		if see(f) {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return lost
}

// TestReceivedOnly leaves out what is sent.
func TestReceivedOnly(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	capture, err := wire.Open(wire.Options{ReceivedOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := wire.NewProbe().Send(*lo); err != nil {
			t.Fatal(err)
		}
	}
	arrived := 0
	run(t, capture, func(f wire.Frame) bool {
		if f.Outgoing {
			t.Errorf("saw a frame of %d bytes leave", f.Length)
		}
		arrived++
		return arrived == 3
	})
	if arrived != 3 {
		t.Errorf("%d frames arrived, want 3", arrived)
	}
}

// TestWithoutNetRaw says which capability is missing.
func TestWithoutNetRaw(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	runtime.LockOSThread() // capabilities are a thread's; never unlocked
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective &^= 1 << unix.CAP_NET_RAW
	if err := unix.Capset(&header, &data[0]); err != nil { // of this thread; Isolate's process ends with the test
		t.Fatal(err)
	}
	_, err := wire.Open(wire.Options{})
	const want = "open a packet socket: this needs CAP_NET_RAW: run as root, or give the container that capability: operation not permitted"
	if err == nil || err.Error() != want {
		t.Errorf("without CAP_NET_RAW: %v, want %s", err, want)
	}
}
