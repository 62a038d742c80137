package tundev

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
)

const cloneDevice = "/dev/net/tun"

// addrGenModeNone is IN6_ADDR_GEN_MODE_NONE of the kernel's if_link.h.
const addrGenModeNone = 1

// DefaultTxQueueLen is the length of the TUN's ring in packets; the kernel's
// own 500 is 13 ms of full-size GSO packets at 20 Gb/s.
const DefaultTxQueueLen = 1000

// Options of a TUN.
type Options struct {
	// Name of the link: 1 to 15 characters.
	Name string
	// File is a TUN that somebody else made, to be taken over instead of making
	// one; it has to be the link of that name. Open closes it.
	File *os.File
	// Movable lets others move the link to another network namespace. Otherwise
	// that is its end, as if it were deleted.
	Movable bool
	// TxQueueLen is how many packets may wait in the kernel for the engine;
	// zero is DefaultTxQueueLen.
	TxQueueLen int
}

// TUN owns a TUN link: its descriptor, and with it the link. Its methods may
// be called concurrently.
type TUN struct {
	name     string
	movable  bool
	offloads []string

	counters
	drops    drops
	progress atomic.Uint64 // reads that returned, with packets or an error

	goneOnce sync.Once
	gone     chan struct{}

	mu     sync.Mutex // guards all below
	fd     int
	index  int
	links  *netlink.Handle // in the namespace of the link
	home   namespace       // that one, of a movable link
	queue  *Queue          // nil: none is open
	mtu    int             // as last seen, in bytes
	closed bool
}

// Open creates the link, in the network namespace of the calling thread; it is
// down and has no address. A link of that name must not exist, unless there is
// a File of it.
func Open(o Options) (*TUN, error) {
	if o.File != nil {
		defer o.File.Close()
	}
	if err := tunnel.CheckName(o.Name); err != nil {
		return nil, err
	}
	if o.TxQueueLen == 0 {
		o.TxQueueLen = DefaultTxQueueLen
	}
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	t := &TUN{name: o.Name, movable: o.Movable, drops: newDrops(), gone: make(chan struct{}), links: links, fd: -1}
	begin := t.create
	if o.File != nil {
		begin = t.adopt
	}
	if t.home, err = currentNamespace(); err == nil {
		err = begin(o)
	}
	if err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

func (t *TUN) create(o Options) error {
	if link, err := t.links.LinkByName(t.name); err == nil {
		return fmt.Errorf("create link %s: a %s link of that name exists, of another process perhaps; "+
			"choose another name or remove it with: ip link delete %s", t.name, link.Type(), t.name)
	} else if !isNotFound(err) {
		return fmt.Errorf("look for a link %s: %w", t.name, err)
	}
	var err error
	if t.fd, err = openQueue(t.name); err != nil {
		return err
	}
	if t.offloads, err = setOffloads(t.fd); err != nil {
		return fmt.Errorf("set the offloads of %s: %w", t.name, err)
	}
	link, err := t.links.LinkByName(t.name)
	if err != nil {
		return fmt.Errorf("find the new link %s: %w", t.name, err)
	}
	t.index, t.mtu = link.Attrs().Index, link.Attrs().MTU
	if err := t.links.LinkSetTxQLen(link, o.TxQueueLen); err != nil {
		return fmt.Errorf("set the queue length of %s to %d: %w", t.name, o.TxQueueLen, err)
	}
	// Like a kernel WireGuard link: no link-local address, hence no router
	// solicitations into the tunnel. A host without IPv6 refuses, and needs not.
	_ = t.links.LinkSetIP6AddrGenMode(link, addrGenModeNone)
	return nil
}

// openQueue opens the clone device and makes it a new link's queue.
func openQueue(name string) (int, error) {
	fd, err := unix.Open(cloneDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, openError(err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		// IFF_TUN_EXCL: never take over a link that came up since we looked.
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		if why := checkCapability(); errors.Is(err, unix.EPERM) && why != nil {
			err = why
		}
		return -1, fmt.Errorf("create link %s: %w", name, err)
	}
	return fd, nil
}

// setOffloads asks for GSO packets in both directions and names what it got.
// USO is of Linux 6.2.
func setOffloads(fd int) ([]string, error) {
	const tcp = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	const udp = unix.TUN_F_USO4 | unix.TUN_F_USO6
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp|udp) == nil {
		return []string{"tun-tso4", "tun-tso6", "tun-uso"}, nil
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp); err != nil {
		return nil, err
	}
	return []string{"tun-tso4", "tun-tso6"}, nil
}

// Close removes the link, and closes a queue that is still open. It may be
// called twice.
func (t *TUN) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	var err error
	if t.queue != nil {
		err = t.queue.closeLocked()
	}
	if t.fd >= 0 {
		err = errors.Join(err, unix.Close(t.fd))
	}
	t.links.Close()
	if err != nil {
		return fmt.Errorf("close %s: %w", t.name, err)
	}
	return nil
}

// Pending reports whether packets wait in the kernel to be read.
func (t *TUN) Pending() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&unix.POLLIN != 0
}

func isNotFound(err error) bool {
	_, ok := errors.AsType[netlink.LinkNotFoundError](err)
	return ok
}

func errClosed(name string) error { return fmt.Errorf("%s: %w", name, os.ErrClosed) }
