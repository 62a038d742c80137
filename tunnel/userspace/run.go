package userspace

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.zx2c4.com/wireguard/device"

	"github.com/wgsteer/wgsteer/tunnel/tundev"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// engine is an open tunnel: wireguard-go's device and its two ends.
type engine struct {
	tun    *tundev.TUN
	bind   *udpbind.Bind
	device *device.Device
	up     atomic.Bool // the device was given its sockets
}

func (t *Tunnel) run(ctx context.Context) (err error) {
	e, err := t.open()
	if err != nil {
		return err
	}
	socket, err := t.listen(ctx)
	if err != nil {
		return errors.Join(err, e.close())
	}
	// The socket is the last to go: whoever has the name next may have the link
	// and the UDP port.
	defer func() { err = errors.Join(err, e.close(), socket.Close()) }()
	begin := e.tun.Up
	if t.options.Standalone {
		begin = func() error { return firstMTU(e.tun) }
	}
	if err := begin(); err != nil {
		return err
	}

	t.mu.Lock()
	t.engine = e
	t.mu.Unlock()
	defer func() { // before the engine closes, wait for those who use it
		t.mu.Lock()
		t.engine = nil
		t.mu.Unlock()
	}()
	close(t.ready)

	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return socket.serve(ctx, e.device.IpcHandle) })
	tasks.Go(func() error { return t.watch(ctx, e) })
	tasks.Go(func() error { return e.wait(ctx) })
	if t.options.Standalone {
		tasks.Go(func() error { return t.follow(ctx, e, socket) })
		return t.expected(tasks.Wait())
	}
	tasks.Go(func() error { return t.greeter.run(ctx, e) })
	return tasks.Wait()
}

func (t *Tunnel) open() (*engine, error) {
	link, err := tundev.Open(tundev.Options{
		Name: t.options.Interface, TxQueueLen: t.options.TxQueueLen,
		File: t.options.TUN, Movable: t.options.Standalone,
	})
	if err != nil {
		return nil, err
	}
	queue, err := link.Queue()
	if err != nil {
		return nil, errors.Join(err, link.Close())
	}
	bind := udpbind.New(udpbind.Options{})
	// The device stays without sockets until the first Apply, or until a
	// standalone link is up: it would open a port that nobody asked for.
	return &engine{tun: link, bind: bind, device: device.NewDevice(queue, bind, engineLogger(t.log, t.options.Now))}, nil
}

// wait returns nil when ctx ends, or the reason why the engine cannot go on.
func (e *engine) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-e.tun.Gone():
		return tundev.ErrGone
	case <-e.device.Wait():
		return errors.New("the WireGuard engine has closed itself")
	}
}

// close ends the engine, then what it worked on.
func (e *engine) close() error {
	e.device.Close()
	if err := errors.Join(e.bind.Shutdown(), e.tun.Close()); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
