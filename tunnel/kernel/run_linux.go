package kernel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wgsteer/wgsteer/wgkey"
)

// watchEvery is how often the link is looked at.
const watchEvery = time.Second

func (t *Tunnel) run(ctx context.Context) (err error) {
	d, adopted, err := open(t.options.Interface)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if adopted {
		t.log.Info("adopted the kernel's WireGuard link that an earlier process left")
		err = t.keepUp(d)
	} else {
		err = d.up()
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.device = d
	t.mu.Unlock()
	defer func() { // before the sockets close, wait for those who use them
		t.mu.Lock()
		t.device = nil
		t.mu.Unlock()
	}()
	close(t.ready)
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return t.watch(ctx, d) })
	tasks.Go(func() error { return t.greet(ctx, d) })
	return tasks.Wait()
}

// watched is what watch saw.
type watched struct{ failing, note string }

// watch keeps what Stats tells of the link true until ctx ends or the link is gone.
func (t *Tunnel) watch(ctx context.Context, d *device) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for was := (watched{}); ; {
		var is watched
		err := t.keepUp(d)
		if errors.Is(err, ErrGone) {
			return err
		}
		if err != nil {
			is.failing = err.Error()
		}
		is.note = t.threaded(d)
		t.watched.Store(&is)
		t.tell(was, is)
		was = is
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (t *Tunnel) tell(was, is watched) {
	switch {
	case is.failing == was.failing:
	case is.failing != "":
		t.log.Warn("tunnel is failing", "reason", is.failing)
	default:
		t.log.Info("tunnel works again")
	}
	if is.note != was.note && is.note != "" {
		t.log.Warn("tunnel may fail", "reason", is.note)
	}
}

// keepUp looks at the link, and sets it up again where somebody set it down: that
// ended all sessions, so all peers are greeted.
func (t *Tunnel) keepUp(d *device) error {
	link, err := d.link()
	if err != nil || isUp(link) {
		return err
	}
	if err := d.up(); err != nil {
		return fmt.Errorf("the link is down: %w", err)
	}
	t.log.Warn("somebody set the tunnel device down; it is up again")
	s, err := d.read()
	if err != nil {
		return err
	}
	asked := make(map[wgkey.PublicKey]time.Time)
	for _, p := range s.peers {
		asked[p.PublicKey] = t.options.Now()
	}
	t.greeter.add(asked)
	return nil
}
