package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// PodAddresses says where pods' addresses come from.
type PodAddresses string

const (
	// FromNodes takes Node.spec.podCIDRs. It is the default.
	FromNodes PodAddresses = "node"
	// FromPods takes every Pod's status.podIPs, for CNIs that do not use the nodes'
	// prefixes.
	FromPods PodAddresses = "pods"
)

// Options of a Source.
type Options struct {
	// Client reaches the API server. Required.
	Client *Client
	// Self is the name of this node's Node. Required.
	Self string
	// PodAddresses; default: FromNodes.
	PodAddresses PodAddresses
	// CacheDir is the state directory, which keeps the last whole snapshot as
	// kubernetes.json, mode 0600; empty: nothing is kept.
	CacheDir string
	// ReadOnly is for a look: CacheDir is read, and nothing in it changes.
	ReadOnly bool
	// Logger; default: slog.Default. Problems are not logged: they are in the
	// snapshots. What client-go logs goes here, at level debug.
	Logger *slog.Logger
}

// Health is how the API server fares, for people.
type Health struct {
	Server  string    // its address
	Failing string    // "" while it answers
	Since   time.Time // of Failing; zero while it answers
}

// Source is the cluster. Its methods may be called from any goroutine; Run once at
// a time.
type Source struct {
	client *Client
	self   string
	from   PodAddresses
	cache  *keymgr.Store // nil: none
	look   bool          // the cache is not written
	log    *slog.Logger

	wake  chan struct{} // holds one element when Run should look
	write chan struct{} // holds one element when the writer should look

	mu      sync.Mutex
	want    *keymgr.Node                  // nil before the first Publish
	status  *v1alpha1.WireGuardNodeStatus // nil before the first PublishStatus
	unable  string                        // why the record is not written
	state   *cluster                      // of the Run that runs; nil without
	failing map[string]failure            // what is failing, by what is asked for
}

var _ keymgr.Source = (*Source)(nil)

// New returns a source that has not asked for anything yet.
func New(o Options) (*Source, error) {
	s := &Source{
		client: o.Client, self: o.Self, from: o.PodAddresses, log: o.Logger, look: o.ReadOnly,
		wake: make(chan struct{}, 1), write: make(chan struct{}, 1),
		failing: make(map[string]failure),
	}
	if s.client == nil {
		return nil, errors.New("a source in Kubernetes needs a client")
	}
	if err := keymgr.CheckName(s.self); err != nil {
		return nil, fmt.Errorf("this node's name: %w", err)
	}
	switch s.from {
	case "":
		s.from = FromNodes
	case FromNodes, FromPods:
	default:
		return nil, fmt.Errorf("podAddresses: %s is neither %s nor %s", keymgr.Quote(string(s.from)), FromNodes, FromPods)
	}
	if o.CacheDir != "" {
		s.cache = keymgr.NewStore(o.CacheDir)
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.divertClientLog()
	return s, nil
}

// Publish implements keymgr.Source. The record is written by Run; a record that
// other nodes would refuse is an error.
func (s *Source) Publish(ctx context.Context, self keymgr.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if self.Name != s.self {
		return fmt.Errorf("publish the record of node %q: this source writes that of %q only", self.Name, s.self)
	}
	if err := readable(self); err != nil {
		return fmt.Errorf("publish the record of node %q: %w", self.Name, err)
	}
	self = self.Clone()
	s.mu.Lock()
	s.want = &self
	s.mu.Unlock()
	poke(s.write)
	return nil
}

// PublishStatus has Run write the status of this node's record, once there is a
// record: the first at once, later ones every 5 s at most, in the long run one a minute;
// the last given counts.
// A status that is there already is not written. A condition with the same status
// as the one there keeps that one's time.
func (s *Source) PublishStatus(ctx context.Context, status v1alpha1.WireGuardNodeStatus) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	s.status = status.DeepCopy()
	s.mu.Unlock()
	poke(s.write)
	return nil
}

// Health says whether the API server answers.
func (s *Source) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Health{Server: s.client.Server}
	if f, ok := first(s.failing); ok {
		h.Failing, h.Since = f.message, f.since
	}
	return h
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it will look in any case
	}
}
