package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// configuration says which configuration runs.
func (d *daemon) configuration() configurationStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := configurationStatus{File: d.config.File, Loaded: d.loaded}
	if d.reloadError != nil {
		s.Error = d.reloadError.Error()
	}
	return s
}

// reload reads the configuration file again and makes it so. On error nothing
// has changed but the status, which tells it. The API server is waited for until ctx
// ends.
func (d *daemon) reload(ctx context.Context) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	next, err := d.apply(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reloadError = err; err != nil {
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	d.config, d.loaded = next, time.Now()
	d.level.Set(logLevel(next.Log, d.env.Getenv))
	return nil
}

// apply makes the data plane what the file says.
func (d *daemon) apply(ctx context.Context) (configuration, error) {
	d.mu.Lock()
	old := d.config
	d.mu.Unlock()
	next, err := loadConfig(d.env, old.File)
	if err == nil {
		err = unchangeable(old, next)
	}
	if err == nil {
		next, err = next.withCluster(ctx, d.log)
	}
	if err == nil {
		err = d.plane.Reload(next.plane(d.log, unread{})) // the source stays
	}
	return next, err
}

// unchangeable refuses what the process holds open. What the data plane cannot
// change it refuses itself.
func unchangeable(old, next configuration) error {
	format := func(json bool) string {
		if json {
			return "json"
		}
		return "text"
	}
	var errs []error
	for _, f := range []struct{ name, old, next string }{
		{"runDir", old.RunDir, next.RunDir},
		{"source.directory", old.Directory, next.Directory},
		{"source.kubernetes", old.Kubernetes.String(), next.Kubernetes.String()},
		{"metrics", old.Metrics, next.Metrics},
		{"log.format", format(old.Log.JSON), format(next.Log.JSON)},
	} {
		if f.old != f.next {
			errs = append(errs, fmt.Errorf("%s: %s: %q cannot take the place of %q while running; restart the daemon", next.File, f.name, f.next, f.old))
		}
	}
	return errors.Join(errs...)
}

// followHangups reloads at each SIGHUP, and tells the service manager: that a
// reload is over says READY, so nothing of it is told before notify has.
func (d *daemon) followHangups(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
		}
		ready := d.ready.Load()
		if ready {
			d.tell(reloadingAt(monotonicNow()))
		}
		if err := d.reload(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("reload", "error", err) // success the data plane logs
		}
		if ready {
			d.tell(notifyReady)
		}
	}
}
