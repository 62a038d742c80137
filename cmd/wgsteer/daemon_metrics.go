package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"

	"github.com/wgsteer/wgsteer/metrics"
)

// listenMetrics returns nil where metrics are off.
func (d *daemon) listenMetrics(ctx context.Context) (net.Listener, error) {
	address := d.config.Metrics
	if address == "" {
		return nil, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: metrics: %s: another process listens there; set metrics to another address, or to \"\" for none", d.config.File, address)
	case err != nil:
		return nil, fmt.Errorf("%s: metrics: %s: listen: %w", d.config.File, address, err)
	}
	return l, nil
}

func (d *daemon) metricsHandler() (http.Handler, error) {
	return metrics.Handler(d.planeStatus, metrics.Build{
		Version: d.version.Version, Revision: d.version.Revision, GoVersion: d.version.Go,
	}, d.log)
}
