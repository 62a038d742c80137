package tundev

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// NameOf returns the name of the link that a TUN's descriptor belongs to. It
// fails where the descriptor is of something else. That it was made with
// IFF_NO_PI it cannot see: the kernel claims so of every TUN.
func NameOf(f *os.File) (string, error) {
	fd, err := duplicate(f)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	name, flags, err := linkOf(fd)
	switch {
	case errors.Is(err, unix.EBADFD):
		return "", fmt.Errorf("%s: no link belongs to it: it was not made one's (TUNSETIFF), or that was deleted", f.Name())
	case err != nil:
		return "", fmt.Errorf("%s is not the descriptor of a TUN: %w", f.Name(), err)
	case flags&unix.IFF_TUN == 0:
		return "", fmt.Errorf("%s is a TAP, %s; it has to be a TUN (IFF_TUN)", f.Name(), name)
	}
	return name, nil
}

// adopt makes t of a TUN that somebody else made. What it was set to, it keeps:
// without IFF_VNET_HDR there are no offloads.
func (t *TUN) adopt(o Options) error {
	name, err := NameOf(o.File)
	if err != nil {
		return err
	}
	if name != o.Name {
		return fmt.Errorf("take over link %s: %s is %s's", o.Name, o.File.Name(), name)
	}
	if t.fd, err = duplicate(o.File); err != nil {
		return err
	}
	// The link may have been moved before we got it.
	link, err := t.linkAnywhere()
	if err != nil {
		return fmt.Errorf("take over link %s: %w", name, err)
	}
	t.index, t.mtu = link.Attrs().Index, link.Attrs().MTU
	// AwaitUp takes a TUN that cannot be written to for one that is down; this
	// is the kernel's own default.
	if err := unix.IoctlSetPointerInt(t.fd, unix.TUNSETSNDBUF, math.MaxInt32); err != nil {
		return fmt.Errorf("set the send buffer of %s: %w", name, err)
	}
	if _, flags, err := linkOf(t.fd); err != nil || flags&unix.IFF_VNET_HDR == 0 {
		return err
	}
	if t.offloads, err = setOffloads(t.fd); err != nil {
		return fmt.Errorf("set the offloads of %s: %w", name, err)
	}
	return nil
}

// duplicate leaves the file as it is: os.File.Fd may set it to block.
func duplicate(f *os.File) (fd int, err error) {
	c, err := f.SyscallConn()
	if err == nil {
		err = errors.Join(err, c.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }))
	}
	if err != nil {
		return -1, fmt.Errorf("duplicate %s: %w", f.Name(), err)
	}
	return fd, nil
}
