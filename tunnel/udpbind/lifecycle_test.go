package udpbind_test

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// identity tells one socket from another, whatever descriptors it has.
type identity struct{ Inode, Cookie uint64 }

func (e *end) identities() (ids []identity) {
	e.t.Helper()
	e.control(func(fd int) {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			e.t.Fatal(err)
		}
		cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
		if err != nil {
			e.t.Fatal(err)
		}
		ids = append(ids, identity{st.Ino, cookie})
	})
	return ids
}

// control calls f with a descriptor of each socket.
func (e *end) control(f func(fd int)) {
	e.t.Helper()
	files, err := e.Files()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, file := range files {
		f(int(file.Fd()))
		if err := file.Close(); err != nil {
			e.t.Error(err)
		}
	}
}

func (e *end) states() (states []udpbind.ReaderState) {
	for _, r := range e.Stats().Readers {
		states = append(states, r.State)
	}
	return states
}

func TestCloseAndOpenKeepSocketsAndDatagrams(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	before, port := b.identities(), b.port
	waitFor(t, "both readers to wait", func() bool {
		return cmp.Equal(b.states(), []udpbind.ReaderState{udpbind.ReaderWaiting, udpbind.ReaderWaiting})
	})
	for _, reopen := range []uint16{port, 0, port} {
		b.close()
		if diff := cmp.Diff([]udpbind.ReaderState{udpbind.ReaderClosed, udpbind.ReaderClosed}, b.states()); diff != "" {
			t.Errorf("readers of a closed Bind (-want +got):\n%s", diff)
		}
		want := messages(repeat(1452, 100)...)
		for _, address := range []string{"127.0.0.1", "::1"} {
			if err := a.Send(want, b.at(address)); err != nil {
				t.Fatal(err)
			}
		}
		b.open(reopen)
		if b.port != port {
			t.Fatalf("port %d after Open(%d), want %d", b.port, reopen, port)
		}
		if diff := cmp.Diff(before, b.identities()); diff != "" {
			t.Errorf("sockets (-before +after):\n%s", diff)
		}
		byFamily := map[bool][][]byte{}
		for _, r := range b.expect(2 * len(want)) {
			v4 := r.endpoint.DstIP().Is4()
			byFamily[v4] = append(byFamily[v4], r.message)
		}
		for v4, got := range byFamily {
			if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
				t.Errorf("IPv4 %v (-sent +received):\n%s", v4, diff)
			}
		}
	}
	if d := nonZero(b.Stats().Drops); len(d) > 0 {
		t.Errorf("drops %v", d)
	}
}

// TestCloseInTheMiddleOfATrain: what was read from the kernel and did not fit
// the caller's buffers waits for the next reader.
func TestCloseInTheMiddleOfATrain(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a := newEnd(t, udpbind.Options{})
	b := &end{Bind: udpbind.New(udpbind.Options{}), t: t}
	t.Cleanup(func() { _ = b.Shutdown() })
	want := messages(repeat(1452, 40)...)
	packets, sizes, endpoints := [][]byte{make([]byte, 2000)}, make([]int, 1), make([]conn.Endpoint, 1)
	for i, m := range want {
		functions, port, err := b.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		if b.port = port; i == 0 {
			if err := a.Send(want, b.at("127.0.0.1")); err != nil {
				t.Fatal(err)
			}
		}
		n, err := functions[0](packets, sizes, endpoints)
		if n != 1 || err != nil {
			t.Fatalf("receive: %d, %v", n, err)
		}
		if !bytes.Equal(packets[0][:sizes[0]], m) {
			t.Fatalf("message %d is another one", i)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := functions[0](packets, sizes, endpoints); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("receive after Close: %v, want net.ErrClosed", err)
		}
	}
}

func TestOpenTwice(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a := newEnd(t, udpbind.Options{})
	if _, _, err := a.Open(0); !errors.Is(err, conn.ErrBindAlreadyOpen) {
		t.Errorf("second Open: %v, want %v", err, conn.ErrBindAlreadyOpen)
	}
}

func TestAnotherPort(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a, b, taken := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	before, port := b.identities(), b.port

	b.close()
	if err := a.Send(messages(80), b.at("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.Open(taken.port)
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "choose another listen port") {
		t.Errorf("Open on a port in use: %v, want EADDRINUSE and what to do", err)
	}
	b.open(port)
	if diff := cmp.Diff(before, b.identities()); diff != "" {
		t.Errorf("sockets after the failure (-before +after):\n%s", diff)
	}
	b.expect(1)

	b.close()
	if err := a.Send(messages(80, 80, 80), b.at("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	free := taken.port
	if err := taken.Shutdown(); err != nil {
		t.Fatal(err)
	}
	b.open(free)
	if b.port != free || b.Stats().Port != free {
		t.Errorf("port %d, in Stats %d, want %d", b.port, b.Stats().Port, free)
	}
	if cmp.Equal(before, b.identities()) {
		t.Error("the sockets are the same")
	}
	if err := a.Send(messages(80), b.at("::1")); err != nil {
		t.Fatal(err)
	}
	b.expect(1)
	want := map[tunnel.DropReason]uint64{udpbind.DropSocketClosed: 3}
	if diff := cmp.Diff(want, nonZero(b.Stats().Drops)); diff != "" {
		t.Errorf("what the old port still held (-want +got):\n%s", diff)
	}
	// The old port is free again.
	c := &end{Bind: udpbind.New(udpbind.Options{}), t: t}
	if _, _, err := c.Open(port); err != nil {
		t.Errorf("open the port that was left: %v", err)
	}
	if err := c.Shutdown(); err != nil {
		t.Error(err)
	}
}

func TestShutdownTwiceAndOpenAfter(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	for range 2 {
		if err := b.Shutdown(); err != nil {
			t.Errorf("shut down: %v", err)
		}
	}
	b.readers.Wait()
	if files, err := b.Files(); len(files) != 0 || err != nil {
		t.Errorf("sockets after Shutdown: %v, %v", files, err)
	}
	b.open(b.port)
	if err := a.Send(messages(80), b.at("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	b.expect(1)
}

func TestMarkDoesNotOutliveClose(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a := newEnd(t, udpbind.Options{})
	marks := func() (marks []int) {
		a.control(func(fd int) {
			m, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK)
			if err != nil {
				t.Fatal(err)
			}
			marks = append(marks, m)
		})
		return marks
	}
	if err := a.SetMark(0x51820); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{0x51820, 0x51820}, marks()); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	a.close()
	a.open(0)
	if diff := cmp.Diff([]int{0, 0}, marks()); diff != "" {
		t.Errorf("marks after Open (-want +got):\n%s", diff)
	}
}
