package kernel

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Unavailable says why no WireGuard link of the kernel can be made here.
type Unavailable struct {
	Reason string // what is missing, such as "this kernel has no WireGuard"
	Mend   string // what to do about it
	Err    error  // what the kernel said; nil where it said nothing
}

func (e *Unavailable) Error() string {
	return "make a kernel WireGuard link: " + e.Why() + "; " + e.Mend
}

// Why is the error without what to do about it.
func (e *Unavailable) Why() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + " (" + e.Err.Error() + ")"
}

func (e *Unavailable) Unwrap() error { return e.Err }

// unavailable explains why the kernel refused to make a link.
func unavailable(err error) error {
	u := &Unavailable{Err: err, Reason: "the kernel refuses", Mend: "look into the kernel's log: dmesg"}
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		u.Reason = "this kernel has no WireGuard: its module is not there, or cannot be loaded"
		u.Mend = "load it with: modprobe wireguard; where there is none, install the kernel's package of modules, or use another backend"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		u.Reason = "this process lacks CAP_NET_ADMIN"
		u.Mend = "run it as root, or give it the capability (systemd: AmbientCapabilities=CAP_NET_ADMIN; Kubernetes: securityContext.capabilities.add)"
	}
	return u
}

// noFamily is for a kernel that makes links, but takes no keys and peers for them.
func noFamily() error {
	return &Unavailable{
		Reason: "the generic netlink family wireguard is missing",
		Mend:   "load the module again: modprobe -r wireguard && modprobe wireguard; a container may lack it in its network namespace",
	}
}

// Probe makes a link of a name that nobody has, looks whether keys and peers can be
// set on it, and removes it. It returns nil, or the reason, an Unavailable, why no
// tunnel can be run by the kernel here.
func Probe() (err error) {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return &Unavailable{"netlink cannot be opened", "look into what keeps this process from it: a seccomp filter, RestrictAddressFamilies", err}
	}
	defer links.Close()
	link, err := fresh(links)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove(links, link)) }()
	wg, err := openFamily(link.Attrs().Name)
	if err != nil {
		return err
	}
	return wg.Close()
}

// openFamily opens what sets keys and peers, and asks it for a link that exists.
func openFamily(name string) (*wgctrl.Client, error) {
	wg, err := wgctrl.New()
	if err != nil {
		return nil, fmt.Errorf("open generic netlink: %w", err)
	}
	_, err = deviceOf(wg, name)
	switch {
	case err == nil:
		return wg, nil
	case errors.Is(err, os.ErrNotExist): // it is there, so nobody knows of WireGuard
		err = noFamily()
	default:
		err = fmt.Errorf("read the WireGuard link %s: %w", name, err)
	}
	return nil, errors.Join(err, wg.Close())
}

// deviceOf asks the kernel for a link. wgctrl takes a userspace tunnel's socket of
// that name for one that the kernel does not know, whichever namespace that is of.
func deviceOf(wg *wgctrl.Client, name string) (*wgtypes.Device, error) {
	is, err := wg.Device(name)
	if err == nil && is.Type != wgtypes.LinuxKernel {
		return nil, os.ErrNotExist
	}
	return is, err
}
