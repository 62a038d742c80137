package kernel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// victim names, in the environment, the link that a process is to run until it is
// killed.
const victim = "WGSTEER_TEST_VICTIM"

func runVictim(name string) int {
	tun, err := New(Options{Interface: name})
	if err == nil {
		go func() { <-tun.Ready(); fmt.Println("ready") }()
		err = tun.Run(context.Background())
	}
	fmt.Println(err)
	return 1
}

// TestAdoption: a process that runs a tunnel is killed, then another one ends as it
// should; the stream over it loses nothing, and the session is the same.
func TestAdoption(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	connect(t, a, b)
	session := a.peer(t, b).LastHandshake
	s := startStream(t, a, b)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	killed := startVictim(t, a.Host, a.name)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	a.run(t)
	a.apply(t, a.to(b))
	sent, lost := s.end()
	if lost != 0 || sent == 0 {
		t.Errorf("%d of %d packets are lost", lost, sent)
	}
	if is := a.peer(t, b).LastHandshake; !is.Equal(session) {
		t.Errorf("the session of %v became one of %v", session, is)
	}

	// With another key it is the same link, and a new session.
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	var index int
	a.Do(func() {
		found, up, err := Find(a.name)
		if err != nil || !up {
			t.Errorf("up %v, %v", up, err)
		}
		index = found.Index
		stats, there, err := Look(a.name)
		if err != nil || !there || stats.PublicKey != a.key.Public() || len(stats.Peers) != 1 || !stats.Peers[0].LastHandshake.Equal(session) {
			t.Errorf("there %v, %v: %+v; want the session of %v", there, err, stats, session)
		}
		if _, there, err := Look("none0"); err != nil || there {
			t.Errorf("a link that is not there: %v, %v", there, err)
		}
	})
	a.run(t)
	a.key = private(t, 8)
	b.apply(t, b.to(a))
	a.apply(t, a.to(b))
	until(t, "session of the new key", func() bool { return a.peer(t, b).LastHandshake.After(session) })
	if link, err := a.tunnel.Link(); err != nil || link.Index != index {
		t.Errorf("link %+v, %v; it was number %d", link, err, index)
	}

	// Removed, it is gone, and a second time there is nothing.
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		a.Do(func() {
			if removed, err := Remove(a.name); err != nil || removed != want {
				t.Errorf("removed %v, %v; want %v", removed, err, want)
			}
		})
	}
	if links := links(t, a.Host); strings.Contains(links, a.name) {
		t.Errorf("links %s", links)
	}
}

// startVictim runs a process that runs a tunnel, until it is ready.
func startVictim(t *testing.T, h *privtest.Host, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victim+"="+name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the process says %q, %v", line, err)
	}
	return cmd
}

// TestThreaded: read where sysfs is of the link's own namespace.
func TestThreaded(t *testing.T) {
	if !isolated(t) {
		return
	}
	a, b := pair(t)
	connect(t, a, b) // the kernel takes the switch only once there is a peer
	sysfs := filepath.Join(t.TempDir(), "sys")
	if err := os.Mkdir(sysfs, 0o700); err != nil {
		t.Fatal(err)
	}
	a.Do(func() {
		if err := unix.Mount("sysfs", sysfs, "sysfs", 0, ""); err != nil {
			t.Fatalf("mount sysfs: %v", err)
		}
	})
	t.Cleanup(func() { _ = unix.Unmount(sysfs, unix.MNT_DETACH) })
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a.tunnel, a.stop = start(t, a.Host, Options{Interface: a.name, Sysfs: sysfs})
	for _, value := range []string{"0", "1", "0"} {
		if err := os.WriteFile(filepath.Join(sysfs, "class/net", a.name, "threaded"), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		until(t, "note of threaded "+value, func() bool { return (a.stats(t).Note != "") == (value == "1") })
	}
	// The process's own sysfs shows another namespace: what is not ours tells nothing.
	d := &device{name: "lo", index: 1}
	if note := (&Tunnel{options: Options{Sysfs: sysfs}}).threaded(d); note != "" {
		t.Errorf("lo: %q", note)
	}
}

// TestNoModule: where the module cannot be loaded, Probe says so, and Run, too. It
// changes the machine, so only one of internal/vmtest gets it; other kernels
// without WireGuard show the same as they are.
func TestNoModule(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this test needs root")
	}
	if Probe() == nil {
		if os.Getenv("REQUIRE_WIREGUARD") != "1" {
			t.Skip("this kernel has WireGuard, and its module is not this test's to unload")
		}
		unload(t)
	}
	tun, err := New(Options{Interface: fmt.Sprintf("wgn%d", os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Probe": Probe(), "Run": tun.Run(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "this kernel has no WireGuard") || !strings.Contains(err.Error(), "modprobe wireguard") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// unload unloads the module and keeps the kernel from loading it, until the test
// ends.
func unload(t *testing.T) {
	t.Helper()
	const modprobe = "/proc/sys/kernel/modprobe"
	was, err := os.ReadFile(modprobe)
	if err == nil {
		err = os.WriteFile(modprobe, []byte("/nowhere\n"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(modprobe, was, 0) })
	until(t, "unloading", func() bool {
		err = unix.DeleteModule("wireguard", unix.O_NONBLOCK)
		return err == nil || err == unix.ENOENT
	})
}

// TestNoFamily: a link that the netlink family does not know.
func TestNoFamily(t *testing.T) {
	if _, err := openFamily("wgnosuch"); err == nil || !strings.Contains(err.Error(), "generic netlink family wireguard") {
		t.Errorf("error %v", err)
	}
}

// TestUserspaceIsNotTaken: a userspace tunnel's socket, of whichever network namespace,
// does not stand for the kernel's link of its name, and gets no keys of ours.
func TestUserspaceIsNotTaken(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this test needs root")
	}
	const dir = "/var/run/wireguard" // where wgctrl looks
	name := fmt.Sprintf("wgu%d", os.Getpid())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, name+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	var requests sync.Map
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			request, _ := bufio.NewReader(c).ReadString('\n')
			requests.Store(request, true)
			fmt.Fprint(c, "errno=0\n\n")
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); served.Wait() })
	if wg, err := openFamily(name); err == nil {
		_ = wg.Close()
		t.Error("a userspace tunnel is taken for the kernel's")
	}
	if _, ok := requests.Load("get=1\n"); !ok {
		t.Error("wgctrl asks no userspace tunnel: deviceOf and set can trust it") // else this shows nothing
	}
	links, wg := clients(t)
	d := &device{name: name, index: 1 << 30, links: links, wg: wg}
	if err := d.set(portOf(1)); !errors.Is(err, ErrGone) {
		t.Errorf("set: %v", err)
	}
	if _, ok := requests.Load("set=1\n"); ok {
		t.Error("a userspace tunnel was set")
	}
}

// clients are what a device works with.
func clients(t *testing.T) (*netlink.Handle, *wgctrl.Client) {
	t.Helper()
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	wg, err := wgctrl.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { links.Close(); _ = wg.Close() })
	return links, wg
}
