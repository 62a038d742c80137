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
	defer func() { err = errors.Join(err, e.close()) }()
	socket, err := listenUAPI(t.options.UAPIDir, t.options.Interface)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, socket.Close()) }()
	if err := e.tun.Up(); err != nil {
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
	tasks.Go(func() error { return t.greeter.run(ctx, e) })
	tasks.Go(func() error { return e.wait(ctx) })
	return tasks.Wait()
}

func (t *Tunnel) open() (*engine, error) {
	link, err := tundev.Open(tundev.Options{Name: t.options.Interface, TxQueueLen: t.options.TxQueueLen})
	if err != nil {
		return nil, err
	}
	queue, err := link.Queue()
	if err != nil {
		return nil, errors.Join(err, link.Close())
	}
	bind := udpbind.New(udpbind.Options{})
	// The device stays without sockets until the first Apply: it would open a
	// port that nobody asked for.
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
