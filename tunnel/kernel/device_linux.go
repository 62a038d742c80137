package kernel

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// ErrGone ends Run when the link was deleted by others.
var ErrGone = errors.New("the link is gone: it was deleted")

// device is a link that is ours, and what sets it. Its sockets belong to the
// network namespace that they were opened in, whichever thread calls.
type device struct {
	name  string
	index int
	links *netlink.Handle
	wg    *wgctrl.Client
}

// open adopts the link of a name, or makes it, down. A link that is new has no key, so
// it answers nobody.
func open(name string) (d *device, adopted bool, err error) {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, false, fmt.Errorf("open netlink: %w", err)
	}
	d = &device{name: name, links: links}
	if adopted, err = d.open(); err != nil {
		return nil, false, errors.Join(err, d.close())
	}
	return d, adopted, nil
}

func (d *device) open() (adopted bool, err error) {
	link, err := ours(d.links, d.name)
	if err != nil {
		return false, err
	}
	adopted = link != nil
	if !adopted {
		if link, err = named(d.links, d.name); err != nil {
			return false, err
		}
	}
	d.index = link.Attrs().Index
	if d.wg, err = openFamily(d.name); err != nil && !adopted {
		err = errors.Join(err, remove(d.links, link))
	}
	return adopted, err
}

// close leaves the link as it is.
func (d *device) close() error {
	d.links.Close()
	if d.wg == nil {
		return nil
	}
	if err := d.wg.Close(); err != nil {
		return fmt.Errorf("close generic netlink: %w", err)
	}
	return nil
}

// link reads the link. One of another name is as good as gone: wg(8)'s interface
// goes by the name.
func (d *device) link() (netlink.Link, error) {
	link, err := d.links.LinkByIndex(d.index)
	switch {
	case isNotFound(err), err == nil && link.Attrs().Name != d.name:
		return nil, fmt.Errorf("%s: %w", d.name, ErrGone)
	case err != nil:
		return nil, fmt.Errorf("read link %s: %w", d.name, err)
	}
	return link, nil
}

func isUp(l netlink.Link) bool { return l.Attrs().RawFlags&unix.IFF_UP != 0 }

func (d *device) up() error {
	link, err := d.link()
	if err != nil {
		return err
	}
	if err := d.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", d.name, err)
	}
	return nil
}

func (d *device) setMTU(mtu int) error {
	link, err := d.link()
	if err != nil {
		return err
	}
	if err := d.links.LinkSetMTU(link, mtu); err != nil {
		return fmt.Errorf("set the MTU of %s to %d: %w", d.name, mtu, err)
	}
	return nil
}

func (d *device) read() (state, error) {
	if _, err := d.link(); err != nil {
		return state{}, err
	}
	is, err := deviceOf(d.wg, d.name)
	if err != nil {
		return state{}, fmt.Errorf("read the WireGuard link %s: %w", d.name, err)
	}
	runtime.Gosched() // packets go first
	return stateOf(is)
}

// set hands over one message. Its errors hold no key. It looks for the link first, as
// wgctrl would give the keys of one that is gone to a userspace tunnel of its name.
func (d *device) set(c wgtypes.Config) error {
	if _, err := d.link(); err != nil {
		return err
	}
	runtime.Gosched() // packets go first
	return d.wg.ConfigureDevice(d.name, c)
}
