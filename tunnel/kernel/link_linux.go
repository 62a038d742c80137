package kernel

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
)

// Mark is the alias of the links that are ours; `ip link` shows it.
const Mark = "wgsteer"

// kind is what netlink calls WireGuard's links.
const kind = "wireguard"

// ours finds the link of a name, nil where there is none. One that is not ours is
// an error.
func ours(links *netlink.Handle, name string) (netlink.Link, error) {
	link, err := links.LinkByName(name)
	switch {
	case isNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for link %s: %w", name, err)
	}
	return link, foreign(name, link.Type(), link.Attrs().Alias)
}

// foreign says what to do about a link that is not ours; nil where it is.
func foreign(name, is, alias string) error {
	switch {
	case is != kind:
		return fmt.Errorf("a %s link %s exists, of another process perhaps; choose another interface, or remove it with: ip link delete %s", is, name, name)
	case alias != Mark:
		return fmt.Errorf("a WireGuard link %s exists that is not wgsteer's (its alias is %q, not %q); choose another interface, remove it with: ip link delete %s, or let wgsteer have it, with its peers replaced: ip link set %s alias %s",
			name, alias, Mark, name, name, Mark)
	}
	return nil
}

// freshName is what fresh calls a link: 15 bytes, the most that there are.
var freshName = regexp.MustCompile("^" + Mark + "-[0-9a-f]{7}$")

// fresh makes a link that is ours, down, of a name that nobody has: killed in
// the middle, it leaves no link of the name that is wanted without the mark.
func fresh(links *netlink.Handle) (netlink.Link, error) {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	attrs := netlink.NewLinkAttrs()
	attrs.Name = Mark + "-" + hex.EncodeToString(b[:])[:7]
	if err := links.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}); err != nil {
		return nil, unavailable(err)
	}
	link, err := links.LinkByName(attrs.Name)
	if err != nil {
		return nil, fmt.Errorf("find the new link %s: %w", attrs.Name, err)
	}
	if err := links.LinkSetAlias(link, Mark); err != nil {
		err = fmt.Errorf("mark the new link %s: %w", attrs.Name, err)
		return nil, errors.Join(err, remove(links, link))
	}
	return link, nil
}

// named is fresh under the name that is wanted.
func named(links *netlink.Handle, name string) (netlink.Link, error) {
	link, err := fresh(links)
	if err != nil {
		return nil, err
	}
	if err := links.LinkSetName(link, name); err != nil {
		err = fmt.Errorf("name the new link %s: %w", name, err)
		return nil, errors.Join(err, remove(links, link))
	}
	return link, nil
}

func remove(links *netlink.Handle, link netlink.Link) error {
	if err := links.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove link %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// Find returns the link of a name that an earlier Run left, the zero Link where
// there is none, and whether it is up. A link of that name that is not ours is none.
func Find(name string) (found tunnel.Link, up bool, err error) {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return found, false, fmt.Errorf("open netlink: %w", err)
	}
	defer links.Close()
	link, err := links.LinkByName(name)
	switch {
	case isNotFound(err):
		return found, false, nil
	case err != nil:
		return found, false, fmt.Errorf("look for link %s: %w", name, err)
	case foreign(name, link.Type(), link.Attrs().Alias) != nil:
		return found, false, nil
	}
	return linkOf(link), isUp(link), nil
}

// Remove removes the link that Find finds, and with it its sessions; it reports
// whether there was one. No Run may be running for it.
func Remove(name string) (bool, error) {
	found, _, err := Find(name)
	if err != nil || found == (tunnel.Link{}) {
		return false, err
	}
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return false, fmt.Errorf("open netlink: %w", err)
	}
	defer links.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index = found.Name, found.Index
	if err := remove(links, &netlink.Wireguard{LinkAttrs: attrs}); err != nil {
		return false, err
	}
	if left, _, err := Find(name); err != nil || left != (tunnel.Link{}) {
		return false, errors.Join(fmt.Errorf("link %s is still there", name), err)
	}
	return true, nil
}

// strayAfter is far more than making a link takes.
const strayAfter = time.Second

// RemoveStrays removes links that were just being made when their process was killed,
// and returns their names.
func RemoveStrays() (removed []string, err error) {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer links.Close()
	left, err := strays(links)
	if err != nil || len(left) == 0 {
		return nil, err
	}
	time.Sleep(strayAfter) // what a living process makes has its name then, or is gone
	again, err := strays(links)
	errs := []error{err}
	for _, l := range again {
		if !slices.ContainsFunc(left, func(o netlink.Link) bool { return o.Attrs().Index == l.Attrs().Index }) {
			continue
		}
		if err := remove(links, l); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, l.Attrs().Name)
	}
	return removed, errors.Join(errs...)
}

// strays may be of a process that lives.
func strays(links *netlink.Handle) ([]netlink.Link, error) {
	const attempts = 10 // where links come and go meanwhile
	var all []netlink.Link
	err := error(netlink.ErrDumpInterrupted)
	for i := 0; i < attempts && errors.Is(err, netlink.ErrDumpInterrupted); i++ {
		all, err = links.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return slices.DeleteFunc(all, func(l netlink.Link) bool {
		return !isStray(l.Attrs().Name, l.Type(), l.Attrs().Alias, isUp(l))
	}), nil
}

// isStray tells a link that fresh made, and that nobody named or removed since.
func isStray(name, is, alias string, up bool) bool {
	return is == kind && freshName.MatchString(name) && (alias == "" || alias == Mark) && !up
}

func linkOf(l netlink.Link) tunnel.Link {
	return tunnel.Link{Name: l.Attrs().Name, Index: l.Attrs().Index, MTU: l.Attrs().MTU}
}

func isNotFound(err error) bool {
	_, ok := errors.AsType[netlink.LinkNotFoundError](err)
	return ok
}
