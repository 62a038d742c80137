package udpbind

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// Open starts receiving on port of both families, and returns a receive
// function for each. Sockets kept from before are used again if they have the
// port, or port is 0; else new ones are opened and then the old ones closed. On
// error the old ones are as they were. Without IPv6 on this host there is IPv4
// alone. The sockets begin without a firewall mark.
func (b *Bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	b.asked = port
	if len(b.sockets()) == 0 || port != 0 && port != b.port {
		if err := b.replace(port); err != nil {
			return nil, 0, err
		}
	} else if b.mark != 0 {
		// wireguard-go sets a mark after Open, but does not take back one that
		// was removed while the device was down.
		if err := b.setMark(0); err != nil {
			return nil, 0, err
		}
	}
	var functions []conn.ReceiveFunc
	for _, s := range b.sockets() {
		generation, err := s.resume(b.options.Now())
		if err != nil {
			return nil, 0, err
		}
		functions = append(functions, s.receiver(generation, b.options.Now))
	}
	b.open = true
	b.closing.Store(false)
	return functions, b.port, nil
}

// replace opens sockets on port, then closes those there were. b.mu is held.
func (b *Bind) replace(port uint16) error {
	v4, v6, port, err := b.openPair(port)
	if err != nil {
		return err
	}
	old := b.sockets()
	b.v4, b.v6, b.port, b.mark = v4, v6, port, 0
	for _, s := range old {
		// The new ones serve; and Linux frees a descriptor whatever close says.
		_ = s.close()
	}
	return nil
}

// openPair opens a socket a family on one port. If the kernel chooses it, it
// may choose one that is taken in the other family; then again.
func (b *Bind) openPair(want uint16) (v4, v6 *socket, port uint16, err error) {
	const attempts = 100
	for range attempts {
		v4, v6, port, err = b.openPairOnce(want)
		if want != 0 || !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("UDP port %d is in use by another program (ss -ulpn names it): stop that, or choose another listen port: %w", want, err)
	}
	if err != nil {
		return nil, nil, 0, err
	}
	for _, s := range []*socket{v4, v6} {
		if s != nil {
			s.drops, s.received = b.drops, &b.received
		}
	}
	return v4, v6, port, nil
}

func (b *Bind) openPairOnce(want uint16) (v4, v6 *socket, port uint16, err error) {
	port = want
	v4, err4 := openSocket("udp4", port, b.options)
	if err4 == nil && port == 0 {
		port, err4 = v4.port()
	}
	if err4 != nil && !errors.Is(err4, unix.EAFNOSUPPORT) {
		return nil, nil, 0, err4
	}
	v6, err6 := openSocket("udp6", port, b.options)
	if err6 == nil && port == 0 {
		port, err6 = v6.port()
	}
	switch {
	case err6 == nil:
	case errors.Is(err6, unix.EAFNOSUPPORT) && err4 == nil:
		v6 = nil
	case v4 != nil:
		return nil, nil, 0, errors.Join(err6, v4.file.Close())
	default:
		return nil, nil, 0, errors.Join(err4, err6)
	}
	return v4, v6, port, nil
}
