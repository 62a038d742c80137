package dataplane_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr/file"
)

// An agent that embeds the data plane: it runs until ctx ends. Paths are
// those of the test; an agent leaves StateDir and BPFFS at their defaults.
func Example() {
	dir, pins := os.Getenv(inside), os.Getenv(insidePins)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	plane, err := dataplane.New(dataplane.Config{
		Node:         "node-a",
		Interface:    exampleInterface,
		ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		PodCIDRs:     []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")},
		NodeIPs:      []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		StateDir:     filepath.Join(dir, "state"),
		BPFFS:        pins,
		Source:       file.New(file.Options{Dir: filepath.Join(dir, "nodes"), Self: "node-a"}),
		Logger:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error)
	go func() { ended <- plane.Run(ctx) }()

	until(func() bool { return plane.Status().Ready })
	status := plane.Status()
	fmt.Println(status.Node, status.State, status.Policy, status.MTU)
	cancel()
	fmt.Println("ended:", <-ended)
	// Output:
	// node-a ready strict 1420
	// ended: <nil>
}
