package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr/kube"
)

// daemon is a data plane with what a process has around it: a configuration
// file, a control socket, metrics, a service manager.
type daemon struct {
	env     *env
	log     *slog.Logger
	level   *slog.LevelVar
	ring    *logRing // the end of the log
	plane   *dataplane.DataPlane
	cluster *kube.Source // nil where the records are not in Kubernetes
	version buildVersion

	reloading sync.Mutex  // held by the one reload at a time
	ready     atomic.Bool // the service manager was told so

	mu          sync.Mutex // guards what follows; only a reload changes it
	config      configuration
	loaded      time.Time
	reloadError error
}

// newDaemon makes what config says, which has been completed by withCluster; it
// starts nothing.
func newDaemon(env *env, config configuration, j journal) (*daemon, error) {
	d := &daemon{env: env, log: j.Logger, level: j.level, ring: j.ring, config: config, loaded: time.Now(), version: thisVersion()}
	source, err := config.source(d.log)
	if err != nil {
		return nil, err
	}
	d.cluster, _ = source.(*kube.Source)
	if d.plane, err = dataplane.New(config.plane(d.log, source)); err != nil {
		return nil, usageError{err}
	}
	return d, nil
}

// run serves until ctx ends or the data plane does, and reloads at each of hangups. It
// holds the interface's lock meanwhile.
func (d *daemon) run(ctx context.Context, hangups <-chan os.Signal) (err error) {
	lock, err := takeLock(d.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	control, err := listenControl(ctx, d.config)
	if err != nil {
		return err
	}
	defer control.Close()
	scrapes, err := d.listenMetrics(ctx)
	if err != nil {
		return err
	}
	if scrapes != nil {
		defer scrapes.Close()
	}
	metered, err := d.metricsHandler()
	if err != nil {
		return err
	}
	d.log.Info("starting", "version", d.version.Version, "config", d.config.File, "node", d.config.Plane.Node, "interface", d.config.Plane.Interface)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := d.plane.Run(ctx); err != nil {
			return err
		}
		return errEnded // so that the others end too
	})
	g.Go(func() error { return d.serve(ctx, control, controlHandler(ctx, d, metered)) })
	if scrapes != nil {
		g.Go(func() error { return d.serve(ctx, scrapes, metered) })
	}
	g.Go(func() error { return d.notify(ctx) })
	g.Go(func() error { return d.followHangups(ctx, hangups) })
	if d.cluster != nil {
		taint := d.config.Kubernetes.StartupTaint // a reload does not change it
		g.Go(func() error { return d.tellCluster(ctx, taint) })
	}
	if err := g.Wait(); !errors.Is(err, errEnded) {
		return err
	}
	d.log.Info(farewell(d.plane.Status().Backend))
	return nil
}

// farewell says what goes on without the daemon.
func farewell(b dataplane.Backend) string {
	if b == dataplane.Kernel {
		return "stopped; the kernel's tunnel and the guard stay: packets between pods of the nodes known now go on, encrypted, until `wgsteer teardown`"
	}
	return "stopped; the guard stays: packets between pods of different nodes are dropped until the next start or `wgsteer teardown`"
}

// errEnded ends the daemon's tasks after the data plane ended as it should.
var errEnded = errors.New("the data plane ended")

// serve answers until ctx ends, then lets requests end for a moment.
func (d *daemon) serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close() // its listener is closed already, its connections are cut
	}
	<-ended
	return nil
}

// status is what the control socket and the status verb tell.
func (d *daemon) status() statusReply {
	return statusReply{
		Version:       d.version.Version,
		PID:           os.Getpid(),
		Configuration: d.configuration(),
		Source:        d.sourceStatus(),
		Status:        d.planeStatus(),
	}
}

// planeStatus is how the data plane is, with what is wrong around it.
func (d *daemon) planeStatus() dataplane.Status {
	s := d.plane.Status()
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.config.Cluster; c != nil {
		s.Problems = append(c.problems(s.Node), s.Problems...)
	}
	return s
}
