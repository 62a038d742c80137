package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// DefaultSysfs is where the state of threads is read that netlink does not tell.
const DefaultSysfs = "/sys"

// Options of a Tunnel.
type Options struct {
	// Interface names the link: 1 to 15 characters.
	Interface string
	// Sysfs is a mounted sysfs of the network namespace; empty is DefaultSysfs.
	Sysfs string
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
	watched atomic.Pointer[watched] // what watch saw last; nil before it looked
	greeter *greeter

	mu     sync.RWMutex // held for reading while the device is in use
	device *device      // nil while Run does not run

	applying sync.Mutex    // guards all below, and what is set on the device
	applied  bool          // last is what this process configured
	last     tunnel.Config // endpoints alone, no secrets
	// ungreeted are peers changed by an Apply that failed later.
	ungreeted map[wgkey.PublicKey]time.Time
}

var _ tunnel.Tunnel = (*Tunnel)(nil)

// New checks the options; nothing is opened before Run.
func New(o Options) (*Tunnel, error) {
	if err := tunnel.CheckName(o.Interface); err != nil {
		return nil, err
	}
	if o.Sysfs == "" {
		o.Sysfs = DefaultSysfs
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Tunnel{
		options: o, log: o.Logger.With("interface", o.Interface), ready: make(chan struct{}),
		greeter: newGreeter(o.Now), ungreeted: make(map[wgkey.PublicKey]time.Time),
	}, nil
}

// Ready implements tunnel.Tunnel.
func (t *Tunnel) Ready() <-chan struct{} { return t.ready }

// Link implements tunnel.Tunnel.
func (t *Tunnel) Link() (link tunnel.Link, err error) {
	err = t.with(func(d *device) error {
		l, err := d.link()
		if err == nil {
			link = linkOf(l)
		}
		return err
	})
	return link, err
}

// with calls f with the device, which stays open meanwhile.
func (t *Tunnel) with(f func(*device) error) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.device == nil {
		return fmt.Errorf("%s: %w", t.options.Interface, tunnel.ErrNotRunning)
	}
	return f(t.device)
}

// Run implements tunnel.Tunnel. When it ends the link stays as it is, up, with its
// keys and peers; see Remove.
func (t *Tunnel) Run(ctx context.Context) error {
	if t.started.Swap(true) {
		return errors.New("run a tunnel: it was run before")
	}
	if err := t.run(ctx); err != nil {
		return fmt.Errorf("tunnel %s: %w", t.options.Interface, err)
	}
	return nil
}
