package main

import (
	"context"
	"fmt"
	"math"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// traffic runs the lab's flows and captures the wire meanwhile.
func (n *labNodes) traffic(ctx context.Context, counter *labCounter) (flows []labFlow, seen netlab.Wire, err error) {
	capture, err := n.net.Capture(dataplane.DefaultListenPort)
	if err != nil {
		return nil, seen, err
	}
	todo := n.net.Flows()
	done := 0
	counter.set(0, len(todo))
	results := n.net.RunFlows(ctx, todo, netlab.FlowOptions{Done: func(netlab.Result) {
		done++
		counter.set(done, len(todo))
	}})
	if seen, err = capture.Stop(); err != nil {
		return nil, seen, err
	}
	if err := ctx.Err(); err != nil {
		return nil, seen, fmt.Errorf("run the flows: %w", err)
	}
	for _, r := range results {
		flows = append(flows, labFlowOf(r))
	}
	return flows, seen, nil
}

// labFlowOf is a result in the terms of the report.
func labFlowOf(r netlab.Result) labFlow {
	return labFlow{
		From: r.From, To: r.To, Protocol: string(r.Protocol), Family: r.Family, OK: r.OK,
		RTTMs: math.Round(r.RTT*1000) / 1000, Bytes: uint64(r.Bytes), Resent: r.Resent, Error: r.Error,
	}
}
