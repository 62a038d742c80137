package tundev

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
)

// ErrGone is what the methods return when the link was deleted by others.
var ErrGone = errors.New("the link is gone: it was deleted")

// ErrDown says that the link is there, but was set down.
var ErrDown = errors.New("the link is down")

// Gone is closed when a method notices that the link was deleted by others:
// mostly Read, at once. But tun_detach_all wakes a reader before it detaches the
// descriptor, so a Read that looks in between finds nothing and sleeps on, which
// is the likely reason why it missed one on Linux 6.12. So call Refresh from time
// to time. Nothing mends a TUN then; close it.
func (t *TUN) Gone() <-chan struct{} { return t.gone }

func (t *TUN) markGone() { t.goneOnce.Do(func() { close(t.gone) }) }

// Link reads the link's name, index and MTU.
func (t *TUN) Link() (tunnel.Link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	link, err := t.link()
	if err != nil {
		return tunnel.Link{}, err
	}
	return tunnel.Link{Name: link.Attrs().Name, Index: link.Attrs().Index, MTU: link.Attrs().MTU}, nil
}

// link is called with the lock held.
func (t *TUN) link() (netlink.Link, error) {
	if t.closed {
		return nil, errClosed(t.name)
	}
	if t.movable {
		return t.linkAnywhere()
	}
	link, err := t.links.LinkByIndex(t.index)
	switch {
	case err == nil:
		return link, nil
	case isNotFound(err):
		t.markGone()
		return nil, fmt.Errorf("%s: %w", t.name, ErrGone)
	default:
		return nil, fmt.Errorf("read link %s: %w", t.name, err)
	}
}

// SetMTU sets the link's MTU in bytes.
func (t *TUN) SetMTU(mtu int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	link, err := t.link()
	if err != nil {
		return err
	}
	if err := t.links.LinkSetMTU(link, mtu); err != nil {
		return fmt.Errorf("set the MTU of %s to %d: %w", t.name, mtu, err)
	}
	t.noteMTU(mtu)
	return nil
}

// Up sets the link up.
func (t *TUN) Up() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	link, err := t.link()
	if err != nil {
		return err
	}
	if err := t.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", t.name, err)
	}
	return nil
}

// Refresh looks at the link: it tells the engine when somebody else changed
// the MTU, and fails when the link is down (ErrDown) or gone. To be called now and
// then.
func (t *TUN) Refresh() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	link, err := t.link()
	if err != nil {
		return err
	}
	t.noteMTU(link.Attrs().MTU)
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		return fmt.Errorf("%s: %w; set it up with: ip link set %s up", t.name, ErrDown, link.Attrs().Name)
	}
	return nil
}

// noteMTU is called with the lock held.
func (t *TUN) noteMTU(mtu int) {
	if mtu == t.mtu {
		return
	}
	t.mtu = mtu
	if t.queue != nil {
		t.queue.mtuChanged()
	}
}
