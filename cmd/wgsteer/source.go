package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/file"
	"github.com/wgsteer/wgsteer/keymgr/kube"
)

// source is where the node records come from. Making it starts nothing.
func (c configuration) source(log *slog.Logger) (keymgr.Source, error) { return c.open(log, false) }

// sourceToLookAt changes nothing in stateDir when it runs.
func (c configuration) sourceToLookAt() (keymgr.Source, error) {
	return c.open(slog.New(slog.DiscardHandler), true)
}

func (c configuration) open(log *slog.Logger, look bool) (keymgr.Source, error) {
	if c.Kubernetes == nil {
		return file.New(file.Options{Dir: c.Directory, Self: c.Plane.Node, Logger: log}), nil
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	return kube.New(kube.Options{
		Client: client, Self: c.Plane.Node, PodAddresses: kube.PodAddresses(c.Kubernetes.PodAddresses),
		CacheDir: c.Plane.StateDir, ReadOnly: look, Logger: log,
	})
}

// client says how the API server is reached.
func (c configuration) client() (*kube.Client, error) {
	client, err := kube.Connect(c.Kubernetes.Kubeconfig, "wgsteer/"+thisVersion().Version)
	if err != nil {
		return nil, fmt.Errorf("source.kubernetes: %w", err)
	}
	return client, nil
}

// finder asks the cluster of the source.
func (c configuration) finder() (finder, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (keymgr.Cluster, error) {
		found, err := kube.Discover(ctx, client)
		if err == nil && len(found.CIDRs) == 0 {
			err = fmt.Errorf("the cluster does not tell them: %w", errNotToBeFound)
		}
		return found, err
	}, nil
}

// sourceStatus says where the node records come from, and how that is.
func (d *daemon) sourceStatus() sourceStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cluster == nil {
		return sourceStatus{Kind: sourceDirectory, Where: d.config.Directory}
	}
	h := d.cluster.Health()
	return sourceStatus{Kind: sourceKubernetes, Where: h.Server, Failing: h.Failing, Since: h.Since, Cluster: d.config.Cluster}
}
