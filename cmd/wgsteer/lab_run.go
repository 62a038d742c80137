package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// run starts a lab, proves, stops it and prints what it found. The error is
// errSilent where the output says already what failed.
func (l lab) run(ctx context.Context, shape labShape, keep bool, out *output) error {
	progress := l.progress()
	r := labReport{Pods: shape.pods, CNI: shape.cni, MTU: shape.mtu, Nodes: []labNode{}, Flows: []labFlow{}}
	if err := l.prove(ctx, progress, shape, keep, &r); err != nil {
		r.Failures = append(r.Failures, oneLine(err.Error()))
	}
	r.OK = len(r.Failures) == 0
	r.Steps = progress.steps
	progress.end()
	err := out.print(l.env.Stdout, r, func(w io.Writer) error {
		return labTable{w, l.env.colours()}.write(r)
	})
	switch {
	case err != nil || r.OK:
		return err
	case out.String() == "table":
		return errSilent
	}
	return fmt.Errorf("the lab failed: %s", strings.Join(r.Failures, "; "))
}

// prove goes through the steps and fills r. Its error is what broke; what the
// observations say against the run is in r.Failures.
func (l lab) prove(ctx context.Context, progress *labProgress, shape labShape, keep bool, r *labReport) error {
	n, err := l.lay(ctx, progress, shape)
	if err != nil {
		return because(ctx, err)
	}
	if err = because(ctx, n.measure(ctx, progress, r)); err == nil {
		r.Failures = judgeLab(*r, len(n.net.Flows()))
	}
	// An interrupt ends the work, not the cleaning up.
	after := context.WithoutCancel(ctx)
	if keep && ctx.Err() == nil {
		status := n.status(ctx)
		r.Kept = &status
		return errors.Join(err, n.net.Detach())
	}
	if failed := err != nil || len(r.Failures) > 0; failed && ctx.Err() == nil {
		var saveErr error
		r.Logs, saveErr = n.saveLogs()
		err = errors.Join(err, saveErr)
	}
	return errors.Join(err, n.takeDown(after, progress))
}

// because is err, or why ctx ended rather than what its end broke.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// lay checks this machine and lays the network of a lab. On error nothing is
// left of it.
func (l lab) lay(ctx context.Context, progress *labProgress, shape labShape) (*labNodes, error) {
	reaper, err := l.reaper()
	if err != nil {
		return nil, err
	}
	net, err := netlab.New(netlab.Options{
		Run: shape.name, Nodes: shape.nodes, Pods: shape.pods, Families: shape.families, CNI: netlab.CNI(shape.cni), MTU: shape.mtu, Reaper: reaper,
	})
	if err != nil {
		return nil, usageError{err}
	}
	err = progress.step("check", "look whether this machine can run a lab", func(*labCounter) error {
		if _, err := netlab.Open(shape.name); err == nil {
			return fmt.Errorf("lab %s is up already; end it with `%s`, or give this one another --name", shape.name, labLine("down", shape.name))
		}
		return labNeeds(shape.backends)
	})
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("lay a %s network of %s with %s each", shape.cni, count(shape.nodes, "node"), count(shape.pods, "pod"))
	err = progress.step("network", text, func(*labCounter) error { return net.Up(ctx) })
	if err != nil {
		return nil, err
	}
	return &labNodes{lab: l, net: net, backends: shape.backends}, nil
}

// measure runs the control, starts the daemons, and runs the same flows again.
func (n *labNodes) measure(ctx context.Context, progress *labProgress, r *labReport) error {
	var control, wire netlab.Wire
	err := progress.step("control", "run the flows without wgsteer: plaintext must show", func(c *labCounter) (err error) {
		flows, seen, err := n.traffic(ctx, c)
		if err != nil {
			return err
		}
		control = seen
		if bad := failedLabFlows(flows); len(bad) > 0 {
			return fmt.Errorf("%d of %d flows fail without wgsteer, so the lab itself is broken: %s", len(bad), len(flows), bad[0].Error)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := n.startAndAwait(ctx, progress, r); err != nil {
		return err
	}
	return progress.step("flows", "run the flows through wgsteer, watching the wire", func(c *labCounter) (err error) {
		r.Flows, wire, err = n.traffic(ctx, c)
		r.Wire = labWireOf(control, wire)
		return err
	})
}

func (n *labNodes) startAndAwait(ctx context.Context, progress *labProgress, r *labReport) error {
	return progress.step("tunnels", "start a daemon on each node, wait for all sessions", func(c *labCounter) (err error) {
		if err := n.start(); err != nil {
			return err
		}
		r.Nodes, err = n.await(ctx, c)
		return err
	})
}

// takeDown stops the daemons and removes the lab, the one even where the other
// fails.
func (n *labNodes) takeDown(ctx context.Context, progress *labProgress) error {
	return progress.step("teardown", "stop the daemons and remove the lab", func(*labCounter) error {
		return errors.Join(n.stop(ctx), n.net.Down())
	})
}

// saveLogs copies what tells of a failure out of the lab's directory, which
// goes with the lab; "" where there is nothing.
func (n *labNodes) saveLogs() (dir string, err error) {
	var paths []string
	for _, node := range n.net.Nodes {
		paths = append(paths, labLogFile(n.net, node), labConfigFile(n.net, node))
	}
	return saveFiles(os.TempDir(), "wgsteer-lab-"+n.net.Run+"-", paths)
}

func (l lab) progress() *labProgress {
	return &labProgress{w: l.env.Stderr, terminal: l.env.StderrTerminal, now: time.Now}
}
