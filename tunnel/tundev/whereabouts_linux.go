package tundev

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace tells network namespaces apart; inode numbers of nsfs.
type namespace struct{ device, inode uint64 }

// findAttempts is for a link that is renamed or moved while it is looked for.
const findAttempts = 3

// linkAnywhere finds the link by its descriptor, which knows name and network
// namespace, and whether there is a link at all, whatever became of it. It is
// called with the lock held.
func (t *TUN) linkAnywhere() (netlink.Link, error) {
	for range findAttempts {
		name, _, err := linkOf(t.fd)
		if errors.Is(err, unix.EBADFD) {
			t.markGone()
			return nil, fmt.Errorf("%s: %w", t.name, ErrGone)
		}
		if err == nil {
			err = t.goThere()
		}
		if err != nil {
			return nil, fmt.Errorf("find link %s: %w", t.name, err)
		}
		link, err := t.links.LinkByName(name)
		switch {
		case err == nil:
			t.index = link.Attrs().Index
			return link, nil
		case !isNotFound(err):
			return nil, fmt.Errorf("read link %s: %w", name, err)
		}
	}
	return nil, fmt.Errorf("find link %s: it is just being deleted, moved or renamed", t.name)
}

// goThere makes t.links a handle in the namespace that the link is in now.
func (t *TUN) goThere() error {
	fd, err := unix.IoctlRetInt(t.fd, unix.TUNGETDEVNETNS)
	if err != nil {
		return fmt.Errorf("ask for its network namespace: %w", err)
	}
	defer unix.Close(fd)
	now, err := namespaceOf(fd)
	if err != nil || now == t.home {
		return err
	}
	links, err := netlink.NewHandleAt(netns.NsHandle(fd), unix.NETLINK_ROUTE)
	if err != nil { // it says a descriptor's number, and wraps nothing
		return errors.New("the network namespace that it was moved to cannot be entered, so that changes of its MTU go unnoticed: CAP_SYS_ADMIN is needed")
	}
	t.links.Close()
	t.links, t.home = links, now
	return nil
}

// AwaitUp waits at most d for the link to be up, and reports whether it is. It
// sees the link in any network namespace and needs no privilege there, and must
// have returned before Close.
//
// The kernel lets a TUN be written to while it is up, and wakes who waits for
// that when it comes up (tun_chr_poll and tun_device_event in
// drivers/net/tun.c), but not when it goes down.
func (t *TUN) AwaitUp(d time.Duration) (bool, error) {
	t.mu.Lock()
	fd, closed := t.fd, t.closed
	t.mu.Unlock()
	if closed {
		return false, errClosed(t.name)
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll(fds, int(d.Milliseconds()))
	}
	switch {
	case err != nil:
		return false, fmt.Errorf("wait for %s to be up: %w", t.name, err)
	case n == 1 && fds[0].Revents&unix.POLLERR != 0:
		t.markGone()
		return false, fmt.Errorf("%s: %w", t.name, ErrGone)
	}
	return n == 1, nil
}

// linkOf returns the present name of a TUN's link, and its TUN flags. The error
// is EBADFD where there is no link.
func linkOf(fd int) (name string, flags uint16, err error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		return "", 0, err
	}
	return ifr.Name(), ifr.Uint16(), nil
}

// currentNamespace is the calling thread's.
func currentNamespace() (namespace, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return namespace{}, fmt.Errorf("open this thread's network namespace: %w", err)
	}
	defer unix.Close(fd)
	return namespaceOf(fd)
}

func namespaceOf(fd int) (namespace, error) {
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return namespace{}, fmt.Errorf("look at a network namespace: %w", err)
	}
	return namespace{s.Dev, s.Ino}, nil
}
