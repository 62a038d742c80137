package userspace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// DefaultUAPIDir is where wg(8) looks for the sockets of userspace tunnels.
const DefaultUAPIDir = "/var/run/wireguard"

// Options of a Tunnel.
type Options struct {
	// Interface names the TUN link and the UAPI socket. The latter makes it
	// unique per host: network namespaces share the directory.
	Interface string
	// UAPIDir holds the UAPI socket; empty is DefaultUAPIDir.
	UAPIDir string
	// TxQueueLen is the number of packets that may wait in the kernel for the
	// engine; zero is tundev's default.
	TxQueueLen int
	// Standalone leaves the tunnel to wg(8) and ip(8), as wireguard-go does;
	// see standalone.go.
	Standalone bool
	// TUN is the link of that name, where somebody else made it already, and
	// UAPI a listening Unix socket to use instead of one in UAPIDir. Run closes
	// both. For a standalone tunnel alone.
	TUN, UAPI *os.File
	// Logger is for what happens seldom; nil discards.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Tunnel implements tunnel.Tunnel.
type Tunnel struct {
	options Options
	log     *slog.Logger
	started atomic.Bool
	ready   chan struct{}
	failing atomic.Pointer[string] // what watch found; nil before it looked
	greeter *greeter

	mu     sync.RWMutex // held for reading while the engine is in use
	engine *engine      // nil while Run does not run

	applying sync.Mutex // guards all below
	last     tunnel.Config
	// ungreeted are peers changed by an Apply that failed later.
	ungreeted map[wgkey.PublicKey]greeting
}

var _ tunnel.Tunnel = (*Tunnel)(nil)

// New checks the options; nothing is opened before Run.
func New(o Options) (*Tunnel, error) {
	if err := tunnel.CheckName(o.Interface); err != nil {
		return nil, err
	}
	if !o.Standalone && (o.TUN != nil || o.UAPI != nil) {
		return nil, errors.New("a TUN or UAPI socket made by others is for a standalone tunnel alone")
	}
	if o.UAPI != nil {
		if err := checkListening(o.UAPI); err != nil {
			return nil, err
		}
	}
	if o.TxQueueLen < 0 {
		return nil, fmt.Errorf("queue length %d: negative", o.TxQueueLen)
	}
	if o.UAPIDir == "" {
		o.UAPIDir = DefaultUAPIDir
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Tunnel{
		options: o, log: o.Logger.With("interface", o.Interface),
		ready: make(chan struct{}), ungreeted: make(map[wgkey.PublicKey]greeting),
	}
	t.greeter = newGreeter(o.Now)
	return t, nil
}

// Ready implements tunnel.Tunnel.
func (t *Tunnel) Ready() <-chan struct{} { return t.ready }

// Link implements tunnel.Tunnel.
func (t *Tunnel) Link() (link tunnel.Link, err error) {
	err = t.with(func(e *engine) error {
		link, err = e.tun.Link()
		return err
	})
	return link, err
}

// with calls f with the engine, which stays open meanwhile.
func (t *Tunnel) with(f func(*engine) error) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.engine == nil {
		return fmt.Errorf("%s: %w", t.options.Interface, tunnel.ErrNotRunning)
	}
	return f(t.engine)
}

// Run implements tunnel.Tunnel.
func (t *Tunnel) Run(ctx context.Context) error {
	if t.started.Swap(true) {
		return errors.New("run a tunnel: it was run before")
	}
	if err := t.run(ctx); err != nil {
		return fmt.Errorf("tunnel %s: %w", t.options.Interface, err)
	}
	return nil
}
