package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/wire"
)

// probePatience is how long to wait for the last probes to leave: they queue
// behind what the device has to send.
const probePatience = 2 * time.Second

// checkWire watches the uplinks of this node for some time, while the daemon
// greets its peers.
func checkWire(ctx context.Context, config configuration, last time.Duration) (wireReport, error) {
	client := newControlClient(config)
	s, err := client.status(ctx)
	if err != nil {
		return wireReport{}, err
	}
	uplinks, err := wireUplinks(config, s)
	if err != nil {
		return wireReport{}, err
	}
	capture, err := wire.Open(wire.Options{})
	if err != nil {
		return wireReport{}, err
	}
	// What the daemon counts from here on, the capture has to see.
	if s, err = client.status(ctx); err != nil {
		return wireReport{}, errors.Join(err, capture.Close())
	}
	w := newWireWatch(wireCluster(s, config.Plane), uplinks)
	report := wireReport{Node: s.Node, Policy: s.Policy, Seconds: last.Seconds(), Devices: []wireDevice{}}
	var greeted greetReply
	after := s
	w.greet = func(ctx context.Context) {
		var err error
		if greeted, err = client.greet(ctx, min(last, maxWait)); err != nil {
			report.GreetError = err.Error()
		}
	}
	w.before = func(ctx context.Context) (err error) {
		after, err = client.status(ctx)
		return err
	}
	if report.Lost, err = w.run(ctx, capture, last); err != nil {
		return wireReport{}, err
	}
	names := map[int]string{}
	for _, u := range uplinks {
		names[u.Index] = u.Name
		d := wireDevice{Name: u.Name, Reason: u.Reason, ProbesSent: w.sent[u.Index], ProbesSeen: w.seen[u.Index]}
		d.Steered = slices.ContainsFunc(s.Steering.Devices, func(a steering.Attachment) bool { return a.Index == u.Index && a.Error == "" })
		if err := w.failed[u.Index]; err != nil {
			d.Error = err.Error()
		}
		report.Devices = append(report.Devices, d)
	}
	report.take(w.tally.Sum(time.Now()), names, s.Peers, greeted.Silent)
	report.compare(s.Peers, after.Peers)
	report.judge()
	return report, nil
}

// wireUplinks are the devices to watch: also those that should be steered and
// are not.
func wireUplinks(config configuration, s statusReply) ([]steering.Device, error) {
	var endpoints []netip.Addr
	for _, p := range s.Peers {
		if p.Endpoint.IsValid() {
			endpoints = append(endpoints, p.Endpoint.Addr())
		}
	}
	var names []string
	for _, a := range s.Steering.Devices {
		names = append(names, a.Name)
	}
	o := steering.Options{BPFFS: config.Plane.BPFFS, Name: s.Interface, Logger: slog.New(slog.DiscardHandler)}
	return steering.Uplinks(o, endpoints, names)
}

// wireWatch is a capture on some devices, with its positive control: probes
// before and after.
type wireWatch struct {
	uplinks []steering.Device
	tally   *wire.Tally   // the capture's until run returns
	seen    map[int]int   // likewise: probes by device
	sighted chan struct{} // one for each probe that was seen
	probes  [2]wire.Probe
	sent    map[int]int
	failed  map[int]error
	greet   func(context.Context)       // is called meanwhile
	before  func(context.Context) error // is called before the last probes
}

func newWireWatch(c wire.Cluster, uplinks []steering.Device) *wireWatch {
	w := &wireWatch{
		uplinks: uplinks, tally: wire.NewTally(wire.NewClassifier(c)), probes: [2]wire.Probe{wire.NewProbe(), wire.NewProbe()},
		sent: map[int]int{}, seen: map[int]int{}, failed: map[int]error{},
	}
	w.sighted = make(chan struct{}, len(w.probes)*len(uplinks))
	for _, u := range uplinks {
		w.seen[u.Index] = 0
	}
	return w
}

// run captures for as long as last says.
func (w *wireWatch) run(ctx context.Context, capture *wire.Capture, last time.Duration) (lost uint64, err error) {
	group, ctx := errgroup.WithContext(ctx)
	watching, enough := context.WithCancel(ctx)
	defer enough()
	group.Go(func() (err error) {
		lost, err = capture.Run(watching, w.see)
		return err
	})
	group.Go(func() error { w.greet(ctx); return nil })
	group.Go(func() error {
		defer enough()
		w.send(w.probes[0])
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(last):
		}
		if err := w.before(ctx); err != nil {
			return err
		}
		w.send(w.probes[1])
		w.await(ctx)
		return nil
	})
	if err := group.Wait(); err != nil {
		return lost, fmt.Errorf("watch the wire: %w", err)
	}
	return lost, nil
}

// see is called by the capture.
func (w *wireWatch) see(f wire.Frame) {
	if _, watched := w.seen[f.Device]; !watched {
		return
	}
	if w.probes[0].Is(f) || w.probes[1].Is(f) {
		w.seen[f.Device]++
		select {
		case w.sighted <- struct{}{}:
		default: // a frame that was seen twice
		}
		return
	}
	w.tally.See(f, time.Now())
}

func (w *wireWatch) send(p wire.Probe) {
	for _, u := range w.uplinks {
		device, err := net.InterfaceByIndex(u.Index)
		if err == nil {
			err = p.Send(*device)
		}
		if err != nil {
			w.failed[u.Index] = err
			continue
		}
		w.sent[u.Index]++
	}
}

// await waits until all probes that were sent have been seen.
func (w *wireWatch) await(ctx context.Context) {
	missing := 0
	for _, n := range w.sent {
		missing += n
	}
	late := time.After(probePatience)
	for ; missing > 0; missing-- {
		select {
		case <-w.sighted:
		case <-late:
			return
		case <-ctx.Done():
			return
		}
	}
}
