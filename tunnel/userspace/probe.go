package userspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
	"github.com/wgsteer/wgsteer/wgkey"
)

// probeEvery is how often Probe looks for answers.
const probeEvery = 20 * time.Millisecond

// ErrNoAnswer is what Probe finds of a peer that did not shake hands.
var ErrNoAnswer = errors.New("no answer")

// Probe shakes hands with each peer from listenPort, until all have answered
// or ctx ends, and returns what is wrong with each: nil when it answered. It
// fails where it could not try, for instance because the port is taken. No TUN
// is needed, and no packet is carried. A peer that has a session with this key
// gets a new one: no tunnel of the key should run.
func Probe(ctx context.Context, key wgkey.PrivateKey, listenPort uint16, peers []tunnel.Peer) (_ map[wgkey.PublicKey]error, err error) {
	config := tunnel.Config{PrivateKey: key, ListenPort: listenPort, Peers: peers}
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	bind := udpbind.New(udpbind.Options{})
	discard := func(string, ...any) {}
	d := device.NewDevice(newNoTUN(), bind, &device.Logger{Verbosef: discard, Errorf: discard})
	defer func() {
		d.Close()
		err = errors.Join(err, bind.Shutdown())
	}()
	e := &engine{bind: bind, device: d}
	if err := e.prepare(config); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		s, err := readState(d)
		if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		result, done := judge(s, peers)
		if done {
			return result, nil
		}
		select {
		case <-ctx.Done():
			return result, nil
		case <-tick.C:
		}
	}
}

// prepare sets the configuration, opens the port and sends the initiations;
// the engine repeats them every 5 s.
func (e *engine) prepare(config tunnel.Config) error {
	c := tunnel.Diff(tunnel.Config{}, config)
	texts := []string{identityText(c), portText(config.ListenPort)}
	for _, p := range c.Peers {
		p.Added = nil // nothing is carried
		texts = append(texts, peerText(p))
	}
	if err := e.set(strings.Join(texts, "")); err != nil {
		return fmt.Errorf("configure the engine: %w", err)
	}
	if err := e.device.Up(); err != nil {
		return fmt.Errorf("open UDP port %d: %w", config.ListenPort, err)
	}
	for _, p := range config.Peers {
		peer := e.device.LookupPeer(device.NoisePublicKey(p.PublicKey))
		if peer != nil && p.Endpoint.IsValid() {
			if err := peer.SendHandshakeInitiation(false); err != nil {
				return fmt.Errorf("greet peer %s: %w", p.PublicKey, err)
			}
		}
	}
	return nil
}

// judge says what is known of each peer, and whether waiting would not change it.
func judge(s state, peers []tunnel.Peer) (result map[wgkey.PublicKey]error, done bool) {
	result, done = make(map[wgkey.PublicKey]error, len(peers)), true
	for _, p := range peers {
		stats, _ := s.peer(p.PublicKey)
		switch {
		case !stats.LastHandshake.IsZero():
			result[p.PublicKey] = nil
		case !p.Endpoint.IsValid():
			result[p.PublicKey] = errors.New("its endpoint is not known")
		default:
			result[p.PublicKey] = fmt.Errorf("%w from %s: the peer is down, has another key or does not know ours, or UDP is blocked on the way", ErrNoAnswer, p.Endpoint)
			done = false
		}
	}
	return result, done
}

// noTUN is the tun.Device of an engine that only shakes hands.
type noTUN struct {
	events chan tun.Event
	closed chan struct{}
	once   sync.Once
}

func newNoTUN() *noTUN {
	return &noTUN{events: make(chan tun.Event), closed: make(chan struct{})}
}

func (*noTUN) File() *os.File { return nil }

func (n *noTUN) Read([][]byte, []int, int) (int, error) {
	<-n.closed
	return 0, os.ErrClosed
}

func (*noTUN) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }
func (*noTUN) MTU() (int, error)                       { return device.DefaultMTU, nil }
func (*noTUN) Name() (string, error)                   { return "probe", nil }
func (n *noTUN) Events() <-chan tun.Event              { return n.events }
func (*noTUN) BatchSize() int                          { return 1 }

func (n *noTUN) Close() error {
	n.once.Do(func() { close(n.closed); close(n.events) })
	return nil
}
