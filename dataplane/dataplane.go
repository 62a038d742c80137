package dataplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// ErrNotRunning is returned by the methods that need a running data plane.
var ErrNotRunning = errors.New("the data plane is not running")

// DataPlane is a data plane that runs, or will. Its methods may be called
// concurrently.
type DataPlane struct {
	view     atomic.Pointer[view] // what Status tells
	requests chan request         // to the reconciler, while it runs
	done     chan struct{}        // closed when Run has returned

	mu     sync.Mutex // guards what follows
	config Config
	called bool // Run was
}

// request is something that the reconciler does between two reconciliations.
type request struct {
	do   func(context.Context, *reconciler) error
	done chan error // buffered
}

// New validates config and does nothing else; on error the DataPlane is nil
// and the error joins a *FieldError for each value that cannot be used.
func New(config Config) (*DataPlane, error) {
	config, err := complete(config)
	if err != nil {
		return nil, err
	}
	d := &DataPlane{config: config, requests: make(chan request), done: make(chan struct{})}
	d.view.Store(&view{state: Stopped, since: config.Now(), config: config})
	return d, nil
}

func complete(config Config) (Config, error) {
	hostname := ""
	if config.Node == "" {
		var err error
		if hostname, err = os.Hostname(); err != nil {
			return Config{}, fmt.Errorf("no node is named, and the host name is unknown: %w", err)
		}
	}
	config = config.withDefaults(hostname)
	return config, config.validate()
}

// Run brings the data plane up and keeps it up until ctx ends; then it leaves guard
// and routes in place, and returns nil. A userspace tunnel ends with it; a kernel one
// goes on with the peers of then, until the next Run or kernel.Remove. It is called
// once. Failures of a part that can come back (a source, a tunnel that ended)
// do not end it: Status tells them, and they are tried again.
func (d *DataPlane) Run(ctx context.Context) error {
	d.mu.Lock()
	if d.called {
		d.mu.Unlock()
		return errors.New("run was called before; make a new data plane")
	}
	d.called = true
	config := d.config
	d.mu.Unlock()
	defer close(d.done)
	r := newReconciler(d, config)
	err := r.run(ctx)
	r.stage(Stopped)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// Reload makes the data plane what config says; on error nothing has changed.
// Node, Interface, StateDir, BPFFS, Backend and Source cannot change while it
// runs. It waits until the change is applied.
func (d *DataPlane) Reload(config Config) error {
	config, err := complete(config)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.called {
		d.config = config
		d.view.Store(&view{state: Stopped, since: config.Now(), config: config})
		return nil
	}
	if err := unchanged(d.config, config); err != nil {
		return err
	}
	err = d.ask(context.Background(), func(ctx context.Context, r *reconciler) error { return r.reload(ctx, config) })
	if err == nil {
		d.config = config
	}
	return err
}

// unchanged refuses a reload of what only a new start can change.
func unchanged(old, next Config) error {
	var errs []error
	const anew = "stop, tear down and start again"
	for _, f := range []struct{ name, old, next, how string }{
		{"node", old.Node, next.Node, anew},
		{"interface", old.Interface, next.Interface, anew},
		{"backend", string(old.Backend), string(next.Backend), "restart"},
		{"stateDir", old.StateDir, next.StateDir, anew},
		{"bpffs", old.BPFFS, next.BPFFS, anew},
	} {
		if f.old != f.next {
			errs = append(errs, badField(f.name, f.next, "cannot change while running (it is %s); %s", f.old, f.how))
		}
	}
	return errors.Join(errs...)
}

// ask has the reconciler do something and waits for it.
func (d *DataPlane) ask(ctx context.Context, do func(context.Context, *reconciler) error) error {
	req := request{do, make(chan error, 1)}
	select {
	case d.requests <- req:
	case <-d.done:
		return ErrNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-req.done:
		return err
	case <-d.done:
		return ErrNotRunning
	}
}
