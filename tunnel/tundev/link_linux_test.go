package tundev_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn/bindtest"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/tundev"
)

func TestOpenRefuses(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	ip(t, "link", "add", "taken", "type", "veth")
	ip(t, "tuntap", "add", "old", "mode", "tun") // persistent, and nobody's
	before, _ := os.ReadDir("/proc/self/fd")
	for name, part := range map[string]string{
		"taken": "a veth link of that name exists", "old": "ip link delete old",
		"": `interface name ""`, "sixteen-letters-": "1 to 15 characters", "a/b": "a/b", "wg%d": "wg%d",
	} {
		link, err := tundev.Open(tundev.Options{Name: name})
		if err == nil {
			link.Close()
			t.Errorf("%q: opened", name)
		} else if !strings.Contains(err.Error(), part) {
			t.Errorf("%q: error %q does not say %q", name, err, part)
		}
	}
	if after, _ := os.ReadDir("/proc/self/fd"); len(after) > len(before) {
		t.Errorf("%d descriptors are left open", len(after)-len(before))
	}
}

func TestLink(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, queue := open(t)
	got, err := link.Link()
	if want, _ := net.InterfaceByName(name); err != nil || got != (tunnel.Link{Name: name, Index: want.Index, MTU: 1500}) {
		t.Errorf("link %+v, %v", got, err)
	}
	if out, _ := exec.Command("ip", "addr", "show", "dev", name).CombinedOutput(); !strings.Contains(string(out), "qlen 1000") || strings.Contains(string(out), "fe80") {
		t.Errorf("queue length is to be 1000, and no link-local address:\n%s", out)
	}
	if err := link.SetMTU(1300); err != nil {
		t.Fatal(err)
	}
	expectMTU(t, queue, 1300)
	ip(t, "link", "set", name, "mtu", "1280") // behind its back
	if err := link.Refresh(); err != nil {
		t.Fatal(err)
	}
	expectMTU(t, queue, 1280)
	ip(t, "link", "set", name, "down")
	if err := link.Refresh(); err == nil || !strings.Contains(err.Error(), "ip link set "+name+" up") {
		t.Errorf("down: %v", err)
	}
	if _, err := link.Queue(); err == nil {
		t.Error("a second queue opened")
	}
	for range 2 {
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := net.InterfaceByName(name); err == nil {
		t.Error("the link outlives Close")
	}
	if _, err := link.Link(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func expectMTU(t *testing.T, q *tundev.Queue, want int) {
	t.Helper()
	select {
	case e := <-q.Events():
		if mtu, err := q.MTU(); e != tun.EventMTUUpdate || mtu != want || err != nil {
			t.Errorf("event %v, MTU %d, %v; want %d", e, mtu, err, want)
		}
	case <-time.After(patience):
		t.Errorf("the engine is not told of MTU %d", want)
	}
}

// What waits in the TUN while one engine ends and the next one begins stays.
func TestOutlivesTheEngine(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, queue := open(t)
	logger := device.NewLogger(device.LogLevelSilent, "")
	engine := device.NewDevice(queue, bindtest.NewChannelBinds()[0], logger)
	c := dial(t)
	send(t, c, "for the first engine")
	until(t, "read", func() bool { return link.Stats().FromTUN.Packets == 1 })
	engine.Close()
	select {
	case <-link.Gone():
		t.Fatal("closing the engine counts as loss of the link")
	default:
	}
	send(t, c, "while there is none")
	if !link.Pending() {
		t.Error("nothing is pending")
	}
	queue, err := link.Queue()
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, queue, 128); len(got) != 1 || !strings.HasSuffix(got[0], "while there is none") {
		t.Errorf("read %q", got)
	}
	if link.Pending() {
		t.Error("more is pending")
	}
}

func TestLinkDeleted(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	link, queue := open(t)
	ended := make(chan error)
	go func() {
		bufs, sizes := buffers(1)
		for {
			if _, err := queue.Read(bufs, sizes, offset); err != nil {
				ended <- err
				return
			}
		}
	}()
	ip(t, "link", "delete", name)
	refresh := time.AfterFunc(time.Second, func() { _ = link.Refresh() }) // where Read slept on
	defer refresh.Stop()
	select {
	case <-link.Gone():
	case err := <-ended:
		t.Fatalf("Read ended: %v", err)
	case <-time.After(patience):
		t.Fatal("nobody noticed")
	}
	if n, err := queue.Write([][]byte{udpPacket(1, "x")}, offset); n != 1 || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
	if got := link.Stats().Drops[tundev.DropWriteClosed]; got != 1 {
		t.Errorf("%d drops of writes", got)
	}
	if err := link.Refresh(); !errors.Is(err, tundev.ErrGone) {
		t.Errorf("Refresh: %v", err)
	}
	if err := queue.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read ended with %v", err)
	}
}
