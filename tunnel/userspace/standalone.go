package userspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"github.com/wgsteer/wgsteer/tunnel/tundev"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// A standalone tunnel is configured through its UAPI socket alone, and its link
// belongs to whoever set it up: it begins down, and may be set up and down and
// moved to another network namespace, while the UDP sockets stay in that of the
// process. The UDP port is open while the link is up. Run returns nil once the
// link is deleted or the UAPI socket's path removed, which is how to end a
// wireguard-go.

var (
	errStandalone    = errors.New("the tunnel is standalone: it is configured with wg(8), through its UAPI socket")
	errSocketRemoved = errors.New("the UAPI socket was removed")
)

const (
	// followEvery is how often the link and the socket's path are looked at. A
	// link that comes up is noticed at once.
	followEvery = 250 * time.Millisecond
	// namePatience is how long to wait for the name of a tunnel whose link was
	// just deleted: its process notices within followEvery, then closes.
	namePatience = 3 * time.Second
	nameEvery    = 20 * time.Millisecond
	// tunMTU is what the kernel gives a TUN by itself.
	tunMTU = 1500
)

// listen opens the UAPI socket.
func (t *Tunnel) listen(ctx context.Context) (*socket, error) {
	if t.options.UAPI != nil {
		return adoptUAPI(t.options.UAPI)
	}
	for end := time.Now().Add(namePatience); ; {
		s, err := listenUAPI(t.options.UAPIDir, t.options.Interface)
		if !t.options.Standalone || !errors.Is(err, errServed) || time.Now().After(end) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(nameEvery):
		}
	}
}

// firstMTU leaves room for the outer headers, unless whoever made the link has
// chosen its MTU.
func firstMTU(link *tundev.TUN) error {
	is, err := link.Link()
	if err != nil || is.MTU != tunMTU {
		return err
	}
	return link.SetMTU(device.DefaultMTU)
}

// expected makes nil of the errors that end a standalone tunnel well.
func (t *Tunnel) expected(err error) error {
	if errors.Is(err, tundev.ErrGone) || errors.Is(err, errSocketRemoved) {
		t.log.Info("the tunnel ends", "reason", err)
		return nil
	}
	return err
}

// follow keeps the engine up while the link is.
func (t *Tunnel) follow(ctx context.Context, e *engine, s *socket) error {
	for told := ""; ctx.Err() == nil; {
		up, err := e.tun.AwaitUp(followEvery) // returns at once while it is up
		if err != nil {
			return err
		}
		if !s.present() {
			return fmt.Errorf("%w: %s", errSocketRemoved, s.path)
		}
		is := ""
		if err := e.follow(up); err != nil {
			is = err.Error()
		}
		if is != told && is != "" {
			t.log.Warn("the tunnel cannot be brought up; it is tried again", "error", is)
		}
		told = is
		if up {
			select {
			case <-ctx.Done():
			case <-time.After(followEvery):
			}
		}
	}
	return nil
}

// follow brings the engine to where the link is.
func (e *engine) follow(up bool) error {
	switch {
	case up && !e.up.Load():
		if err := e.device.Up(); err != nil {
			// The engine forgets a port that it could not open, and would open any
			// other the next time.
			return errors.Join(err, e.set(portText(e.bind.Asked())))
		}
		e.up.Store(true)
	case !up && e.up.Load():
		e.up.Store(false)
		// The engine knows the port to open again.
		return errors.Join(e.device.Down(), e.bind.Shutdown())
	case up && deaf(e.bind.Stats()):
		// A change of the port failed, and left the engine without; the sockets of
		// the old one are kept.
		return e.device.BindUpdate()
	}
	return nil
}

// deaf reports whether no socket is read from.
func deaf(s udpbind.Stats) bool {
	for _, r := range s.Readers {
		if r.State != udpbind.ReaderClosed {
			return false
		}
	}
	return true
}
