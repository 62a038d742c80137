package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a named network namespace of a lab. It holds nothing open, so it
// may be copied, and its methods may be called concurrently.
type Namespace struct {
	Run  string // the lab's name
	Path string // under /run/netns, so ip-netns(8) and nsenter --net=PATH know it
}

// Do calls fn on a thread that is in the namespace; the mount namespace stays
// the caller's. Sockets that fn opens and commands that it starts belong to the
// namespace for good. Goroutines that fn starts do not run there.
func (n Namespace) Do(fn func() error) error {
	return onOwnThread(func() error {
		fd, err := unix.Open(n.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("network namespace %s does not exist: is lab %s up?", n.Path, n.Run)
		}
		if err != nil {
			return fmt.Errorf("open network namespace %s: %w", n.Path, err)
		}
		err = unix.Setns(fd, unix.CLONE_NEWNET)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("enter network namespace %s: %w", n.Path, err)
		}
		return fn()
	})
}

// onOwnThread calls fn on a thread that ends afterwards, so that it does not
// matter what fn does to it.
func onOwnThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := errors.New("the function did not return")
		defer func() { done <- err }() // also when fn ends the goroutine, as t.Fatal does
		err = fn()
	}()
	return <-done
}

// create makes the namespace and brings its loopback device up.
func (n Namespace) create() error {
	return onOwnThread(func() error {
		ns, err := netns.NewNamed(filepath.Base(n.Path))
		if err != nil {
			return fmt.Errorf("make network namespace %s: %w", n.Path, err)
		}
		defer ns.Close()
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			return fmt.Errorf("bring up lo in %s: %w", n.Path, err)
		}
		return nil
	})
}

// sysctls writes /proc/sys/net files; it is called in the namespace.
func sysctls(settings ...[2]string) error {
	for _, s := range settings {
		path := filepath.Join("/proc/sys/net", s[0])
		if err := os.WriteFile(path, []byte(s[1]), 0); err != nil {
			return fmt.Errorf("set sysctl %s to %s: %w", path, s[1], err)
		}
	}
	return nil
}

// Dial connects from inside the namespace; network is as for net.Dial, with
// its family ("tcp4", "udp6").
func (n Namespace) Dial(ctx context.Context, network string, to netip.AddrPort) (conn net.Conn, err error) {
	err = n.Do(func() error {
		var d net.Dialer
		// One address, so the dialer opens its socket on this very thread.
		conn, err = d.DialContext(ctx, network, to.String())
		return err
	})
	return conn, err
}

// Listen accepts streams inside the namespace.
func (n Namespace) Listen(ctx context.Context, network string, at netip.AddrPort) (l net.Listener, err error) {
	err = n.Do(func() error {
		var c net.ListenConfig
		l, err = c.Listen(ctx, network, at.String())
		return err
	})
	return l, err
}

// ListenPacket receives datagrams inside the namespace.
func (n Namespace) ListenPacket(ctx context.Context, network string, at netip.AddrPort) (c net.PacketConn, err error) {
	err = n.Do(func() error {
		var lc net.ListenConfig
		c, err = lc.ListenPacket(ctx, network, at.String())
		return err
	})
	return c, err
}

// mark is the environment variable by which a lab knows the processes that it
// started, and theirs, after its owner has died.
const mark = "WGSTEER_LAB"

// Cmd is a command that will run in a namespace. Down ends it if it still runs.
type Cmd struct {
	*exec.Cmd
	namespace Namespace
}

// Command prepares a command as exec.CommandContext does. It sees the host's
// mounts, bpffs included: unlike under `ip netns exec`. Its SysProcAttr.Pdeathsig
// must stay unset: the thread that starts it does not live on.
func (n Namespace) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...), namespace: n}
}

// Start starts the command in its namespace.
func (c *Cmd) Start() error {
	c.Env = append(c.Environ(), mark+"="+c.namespace.Run)
	return c.namespace.Do(c.Cmd.Start)
}

// Run starts the command and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns what it wrote to standard output.
func (c *Cmd) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns what it wrote to standard output
// and standard error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
