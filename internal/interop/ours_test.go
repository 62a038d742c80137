package interop_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
	"github.com/wgsteer/wgsteer/wgkey"
)

// ours is our tunnel, in this process.
type ours struct {
	end
	*userspace.Tunnel
}

// start runs the tunnel in the host's namespace until the test ends.
func (o *ours) start(t *testing.T) {
	t.Helper()
	var err error
	if o.Tunnel, err = userspace.New(userspace.Options{Interface: o.name}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // longer than t.Context
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock
		if err := o.Enter(); err != nil {
			ended <- err
			return
		}
		ended <- o.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("our tunnel: %v", err)
		}
	})
	select {
	case <-o.Ready():
	case err := <-ended:
		ended <- err
		t.Fatalf("our tunnel ended at once: %v", err)
	case <-time.After(patience):
		t.Fatal("our tunnel is not ready")
	}
}

// apply applies on the host's thread: the first time opens sockets.
func (o *ours) apply(t *testing.T, c tunnel.Config) {
	t.Helper()
	var err error
	o.Do(func() { err = o.Apply(context.Background(), c) })
	if err != nil {
		t.Fatal(err)
	}
}

func (o *ours) stats(t *testing.T) tunnel.Stats {
	t.Helper()
	s, err := o.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// peer is what our tunnel knows of one.
func (o *ours) peer(t *testing.T, key wgkey.PublicKey) tunnel.PeerStats {
	t.Helper()
	for _, p := range o.stats(t).Peers {
		if p.PublicKey == key {
			return p
		}
	}
	t.Fatalf("our tunnel has no peer %s", key)
	return tunnel.PeerStats{}
}
