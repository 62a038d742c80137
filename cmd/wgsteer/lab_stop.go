package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// stop stops the daemons, all at once, and has each node's teardown remove, and
// prove that it did, what a daemon leaves in the kernel.
func (n *labNodes) stop(ctx context.Context) error {
	var g errgroup.Group
	errs := make([]error, len(n.net.Nodes))
	for i, node := range n.net.Nodes {
		if _, err := n.client(node); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		g.Go(func() error {
			errs[i] = errors.Join(n.stopDaemon(ctx, node), n.teardown(ctx, node))
			return nil
		})
	}
	_ = g.Wait() // all are heard out: the errors are in errs
	n.started = nil
	return errors.Join(errs...)
}

func (n *labNodes) stopDaemon(ctx context.Context, node *netlab.Node) error {
	p := n.started[node.Name]
	if p == nil {
		var err error
		if p, err = n.find(ctx, node); p == nil {
			return err
		}
	}
	err := p.stop(ctx, labStopWithin)
	if err != nil {
		err = fmt.Errorf("stop the daemon of %s: %w", node.Name, err)
	}
	return errors.Join(err, p.close())
}

// find finds the daemon of a node by its control socket, nil if none answers.
func (n *labNodes) find(ctx context.Context, node *netlab.Node) (*labProcess, error) {
	client, err := n.client(node)
	if err != nil {
		return nil, err
	}
	reply, err := client.status(ctx)
	if errors.Is(err, errNoDaemon) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := openLabProcess(reply.PID)
	if err != nil {
		return nil, err
	}
	// If it still answers, the descriptor is its own and not a successor's.
	again, err := client.status(ctx)
	if err != nil || again.PID != reply.PID {
		return nil, errors.Join(fmt.Errorf("the daemon of %s ended by itself just now", node.Name), err, p.close())
	}
	return p, nil
}

func (n *labNodes) teardown(ctx context.Context, node *netlab.Node) error {
	binary, err := n.executable()
	if err != nil {
		return fmt.Errorf("find this very binary: %w", err)
	}
	var out strings.Builder
	cmd := node.Command(ctx, binary, "teardown", "--config", labConfigFile(n.net, node))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("tear down %s: %w: %s", node.Name, err, oneLine(out.String()))
	}
	return nil
}
