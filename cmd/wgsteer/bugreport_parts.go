package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel/kernel"
)

// checkWait is how long a bug report waits for peers to answer.
const checkWait = 3 * time.Second

// parts are the files of a bug report, but the README.
func (r *bugreport) parts() []part {
	steer := steeringOptions(r.config)
	return []part{
		{name: "version.json", what: "the version of the wgsteer that wrote this", read: asJSON(func(context.Context) (any, error) { return thisVersion(), nil })},
		{name: "host.json", what: "kernel, system, limits, files, sysctls and modules", read: asJSON(func(context.Context) (any, error) { return r.host(), nil })},
		{name: "status.json", what: "what the running daemon tells, as `wgsteer status -o json`", read: asJSON(r.status)},
		{name: "status.txt", what: "the same as a table", read: r.statusTable},
		{name: "check.json", what: "what `wgsteer check` finds", read: asJSON(r.check)},
		{name: "configuration-file.yaml", what: "the configuration file: fields that are known", read: r.configurationFile},
		{name: "configuration.json", what: "how it is understood, with defaults; of a wrong one what could be understood", read: func(context.Context) ([]byte, error) { return r.config.understood() }},
		{name: "records.json", what: "the node records as the source has them now, with their problems", read: asJSON(r.records)},
		{name: "claims.json", what: "what is remembered of the records in stateDir", read: asJSON(r.claims)},
		{name: "bpf-maps.json", what: "the pinned maps: settings, prefixes, verdicts, peers", read: asJSON(func(context.Context) (any, error) { return steering.InspectMaps(steer) })},
		{name: "bpf-programs.json", what: "the pins, and which programs each device has", read: asJSON(func(context.Context) (any, error) { return steering.InspectPrograms(steer) })},
		{name: "network.json", what: "links, addresses, routes of all tables, rules", read: asJSON(func(context.Context) (any, error) { return steering.InspectNetwork(steer) })},
		{name: "nftables.json", what: "wgsteer's nftables table, and the names of others", read: asJSON(func(context.Context) (any, error) { return steering.InspectTable(steer) })},
		{name: "kernel-tunnel.json", what: "the kernel's WireGuard link of that name and its peers; null where there is none, as with backend userspace", read: asJSON(r.kernelTunnel)},
		{name: "metrics.txt", what: "the running daemon's metrics", read: r.ask(pathMetrics)},
		{name: "log.txt", what: "the end of the running daemon's log, at most 2000 lines or 1 MB; of an earlier one: journalctl -u wgsteer, kubectl logs --previous", read: r.ask(pathLog)},
		{name: "goroutines.txt", what: "what the running daemon's goroutines are at", read: r.ask(pathGoroutines)},
	}
}

// asJSON is a part that is data. What there is beside an error is kept.
func asJSON(read func(context.Context) (any, error)) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		v, err := read(ctx)
		if err != nil && v == nil {
			return nil, err
		}
		text, failed := json.MarshalIndent(v, "", "  ")
		if failed != nil {
			return nil, fmt.Errorf("encode it: %w", failed)
		}
		return append(text, '\n'), err
	}
}

// ask is a part that the running daemon tells.
func (r *bugreport) ask(path string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) { return r.client.fetch(ctx, http.MethodGet, path) }
}

func (r *bugreport) status(ctx context.Context) (any, error) {
	s, err := r.askStatus(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// askStatus leaves out why a reload was refused: that repeats the file.
func (r *bugreport) askStatus(ctx context.Context) (statusReply, error) {
	s, err := r.client.status(ctx)
	if err != nil {
		return s, err
	}
	r.withheld.allow(s.PublicKey)
	for _, p := range s.Peers {
		r.withheld.allow(p.PublicKey)
	}
	r.withheld.hide(strings.Split(s.Configuration.Error, "\n")...)
	if s.Configuration.Error != "" {
		s.Configuration.Error = "the last reload was refused; log.txt and configuration-file.yaml say why"
	}
	return s, nil
}

func (r *bugreport) statusTable(ctx context.Context) ([]byte, error) {
	s, err := r.askStatus(ctx)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = statusTable{now: r.now}.write(&b, s)
	return b.Bytes(), err
}

func (r *bugreport) check(ctx context.Context) (any, error) {
	return check(ctx, r.env, r.file, checkWait), nil
}

func (r *bugreport) configurationFile(context.Context) ([]byte, error) {
	text, err := readConfigFile(r.file)
	if err != nil {
		return nil, err
	}
	return []byte(knownFields(r.file, text, r.config.Plane.Node)), nil
}

// seenRecords is a snapshot as a bug report has it.
type seenRecords struct {
	Partial  bool             `json:"partial"`
	Local    *keymgr.Local    `json:"local,omitempty"` // what the source knows of this node itself
	Nodes    []keymgr.Node    `json:"nodes"`
	Unusable []string         `json:"unusable,omitempty"`
	Problems []keymgr.Problem `json:"problems,omitempty"`
}

func (r *bugreport) records(ctx context.Context) (any, error) {
	source, err := r.config.sourceToLookAt()
	if err != nil {
		return nil, err
	}
	s, err := firstSnapshot(ctx, source)
	if err != nil {
		return nil, err
	}
	r.allowNodes(s.Nodes)
	return seenRecords{s.Partial, s.Local, s.Nodes, s.Unusable, s.Problems}, nil
}

func (r *bugreport) claims(context.Context) (any, error) {
	claims, err := keymgr.NewStore(r.config.Plane.StateDir).PeekClaims()
	if err != nil {
		return nil, err
	}
	r.allowNodes(claims.Nodes)
	return claims.Nodes, nil
}

// kernelTunnel goes on without a daemon.
func (r *bugreport) kernelTunnel(context.Context) (any, error) {
	stats, there, err := kernel.Look(r.config.Plane.Interface)
	if err != nil || !there {
		return nil, err
	}
	r.withheld.allow(stats.PublicKey)
	for _, p := range stats.Peers {
		r.withheld.allow(p.PublicKey)
	}
	return stats, nil
}

func (r *bugreport) allowNodes(nodes []keymgr.Node) {
	for _, n := range nodes {
		r.withheld.allow(n.PublicKey)
	}
}
