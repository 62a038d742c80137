package steering

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"
)

// The defaults of Options' zero values.
const (
	// DefaultRouteProtocol marks our routes (rtm_protocol). Neither the kernel's
	// rtnetlink.h nor iproute2's rt_protos gives 117 to anyone.
	DefaultRouteProtocol = 117
	// DefaultRouteTable is the main table, RT_TABLE_MAIN.
	DefaultRouteTable = 254
	// DefaultVerifyEvery is the longest that a change which sends no event, such
	// as a link that someone detached, goes unmended.
	DefaultVerifyEvery = 30 * time.Second
)

// Options say where steering keeps its things. BPFFS and Name are required.
type Options struct {
	// BPFFS is a directory on a mounted bpffs, such as /sys/fs/bpf/wgsteer; pins
	// go to a directory called Name in it. It need not exist, its mount has to.
	BPFFS string
	// Name is the tunnel device's name. It is unique per host: network namespaces
	// share the bpffs.
	Name string
	// Logger; default: slog.Default.
	Logger *slog.Logger
	// ForceClsact attaches by clsact also where the kernel has tcx.
	ForceClsact bool
	// RouteProtocol marks our routes, so that exactly they are removed; default
	// DefaultRouteProtocol. Nobody else in this network namespace may use it.
	RouteProtocol uint8
	// RouteTable is where our routes go; default DefaultRouteTable.
	RouteTable int
	// VerifyEvery is how often Run compares what is with what should be when no
	// event calls for it; default DefaultVerifyEvery.
	VerifyEvery time.Duration
	// UplinksChanged is called by Run when the devices by which packets leave this
	// node are others than when it was called last, or have another MTU. It must not
	// wait; nil: nobody cares.
	UplinksChanged func()
	// Now is the clock; default: time.Now.
	Now func() time.Time
}

// validated is o with its defaults, or what is wrong with it.
func (o Options) validated() (Options, error) {
	var errs []error
	if !filepath.IsAbs(o.BPFFS) {
		errs = append(errs, fmt.Errorf("bpffs directory %q: want an absolute path such as /sys/fs/bpf/wgsteer", o.BPFFS))
	}
	switch {
	case o.Name == "" || len(o.Name) > 15 || o.Name == ".." || strings.ContainsAny(o.Name, "/ \t\n\x00"):
		errs = append(errs, fmt.Errorf("tunnel device name %q: want 1 to 15 bytes without slash or space", o.Name))
	case strings.Contains(o.Name, "."):
		errs = append(errs, fmt.Errorf("tunnel device name %q: the bpffs allows no dot in the name of its pin directory", o.Name))
	}
	if o.RouteTable < 0 || o.VerifyEvery < 0 {
		errs = append(errs, fmt.Errorf("route table %d and verify interval %v may not be negative", o.RouteTable, o.VerifyEvery))
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.UplinksChanged == nil {
		o.UplinksChanged = func() {}
	}
	o.RouteProtocol = cmp.Or(o.RouteProtocol, DefaultRouteProtocol)
	o.RouteTable = cmp.Or(o.RouteTable, DefaultRouteTable)
	o.VerifyEvery = cmp.Or(o.VerifyEvery, DefaultVerifyEvery)
	return o, errors.Join(errs...)
}

// pins is the directory of this tunnel device's pins.
func (o Options) pins() string { return filepath.Join(o.BPFFS, o.Name) }

// links is the directory of the links' pins.
func (o Options) links() string { return filepath.Join(o.pins(), "links") }
