package netlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// RunFlows runs the flows, some at once, and returns their results in the same
// order. A flow that fails is a result and no error; when ctx ends, so do the
// flows that are left, and their results say so.
func (l *Lab) RunFlows(ctx context.Context, flows []Flow, options FlowOptions) []Result {
	o := options.withDefaults()
	results := make([]Result, len(flows))
	var reporting sync.Mutex
	var group errgroup.Group
	group.SetLimit(o.Parallel)
	for i, f := range flows {
		group.Go(func() error {
			results[i] = l.runFlow(ctx, f, o)
			if o.Done != nil {
				reporting.Lock()
				defer reporting.Unlock()
				o.Done(results[i])
			}
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
	return results
}

func (l *Lab) runFlow(ctx context.Context, f Flow, o FlowOptions) Result {
	r := Result{Flow: f}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("not done within %v", o.Timeout))
	defer cancel()
	if err := l.carry(ctx, &r, o); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			<-ctx.Done() // whose deadline it is; package net may be quicker by a moment
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		r.Error = fmt.Sprintf("%v: %v", f, err)
		return r
	}
	r.OK = true
	return r
}

// ends are a flow's two ends.
type ends struct {
	from, to     Namespace
	fromIP, toIP netip.Addr
	family       int
}

// network is the name of a protocol for package net.
func (e ends) network(protocol string) string { return fmt.Sprintf("%s%d", protocol, e.family) }

func (l *Lab) carry(ctx context.Context, r *Result, o FlowOptions) error {
	from, err := l.Find(r.From)
	if err != nil {
		return err
	}
	to, err := l.Find(r.To)
	if err != nil {
		return err
	}
	e := ends{from: from.Namespace, to: to.Namespace, family: r.Family}
	if e.fromIP, err = from.IP(r.Family); err != nil {
		return err
	}
	if e.toIP, err = to.IP(r.Family); err != nil {
		return err
	}
	switch r.Protocol {
	case TCP:
		return carryTCP(ctx, e, o.Bytes, r)
	case UDP:
		return carryUDP(ctx, e, o, r)
	case ICMP:
		return carryICMP(ctx, e, o, r)
	}
	return fmt.Errorf("protocol %q: want tcp, udp or icmp", r.Protocol)
}

// untilDone applies the end of ctx to a connection. The caller calls stop.
func untilDone(ctx context.Context, setDeadline func(time.Time) error) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = setDeadline(time.Unix(1, 0)) }) // fails only when it is closed already
}
