package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
)

// nodeNames are the defaults of node: Kubernetes' name for it, where the records are
// there and the pod's environment says it, else the host's.
type nodeNames struct{ host, kubernetes string }

// parseConfig reads and validates the text of a file. It touches nothing but its
// arguments. All errors of one stage are reported together: first YAML,
// then fields and the form of their values, then what the values mean
// together.
func parseConfig(path string, text []byte, names nodeNames) (configuration, error) {
	doc, root := parseDocument(path, text)
	c := configuration{File: path}
	if len(doc.errs) == 0 {
		c.readFields(root)
		root.rejectUnknown()
	}
	c.fillIn(names)
	if len(doc.errs) == 0 {
		doc.locate(c.validate())
	}
	return c, doc.err()
}

func (c *configuration) readFields(s *section) {
	c.Plane = dataplane.Config{
		Node:       s.text("node", ""),
		Interface:  s.text("interface", ""),
		ListenPort: uint16(s.integer("listenPort", 1, 65535)),
	}
	c.Plane.PersistentKeepalive, _ = scalar(s, "persistentKeepalive", "a duration such as 25s is needed, or 0s for none", time.ParseDuration)
	c.Plane.MTU = s.integer("mtu", 0, 65535)
	c.Plane.ClusterCIDRs = list(s, "clusterCIDRs", "a prefix such as 10.244.0.0/16 or fd00:10:244::/48 is needed", netip.ParsePrefix)
	c.Plane.PodCIDRs = list(s, "podCIDRs", "a prefix such as 10.244.1.0/24 or fd00:10:244:1::/64 is needed", netip.ParsePrefix)
	c.Plane.NodeIPs = list(s, "nodeIPs", "an address such as 192.0.2.1 or 2001:db8::1 is needed", netip.ParseAddr)
	c.Plane.NodeCIDRs = list(s, "nodeCIDRs", "a prefix such as 192.0.2.0/24 or 2001:db8::/64 is needed", netip.ParsePrefix)
	c.Plane.Endpoint, _ = scalar(s, "endpoint", "an address and a port, such as 192.0.2.1:51871 or [2001:db8::1]:51871, are needed", parseEndpoint)
	c.Plane.Policy = dataplane.Policy(s.text("policy", ""))
	c.Plane.Backend = dataplane.Backend(s.text("backend", ""))
	c.Plane.Devices = list(s, "devices", "the name of a network device is needed; put it in quotes", plain)
	c.Plane.PodDevices = list(s, "podDevices", "the name of a network device is needed, or its start and a *, such as \"veth*\"; put it in quotes", plain)
	ports := s.section("encapsulationPorts", "{vxlan: [4789, 8472], geneve: [6081]}")
	c.Plane.EncapsulationPorts.VXLAN = ports.ports("vxlan")
	c.Plane.EncapsulationPorts.Geneve = ports.ports("geneve")
	ports.rejectUnknown()
	c.Plane.StateDir = s.text("stateDir", "")
	c.RunDir = s.text("runDir", "")
	c.Plane.BPFFS = s.text("bpffs", "")

	c.readSource(s)

	c.Metrics = readMetrics(s)

	log := s.section("log", "{level: info, format: text}")
	c.Log.Level, _ = scalar(log, "level", "debug, info, warn or error is needed", parseLevel)
	c.Log.JSON, _ = scalar(log, "format", "text or json is needed", parseFormat)
	log.rejectUnknown()
}

const wantMetrics = `an address and a port, such as 127.0.0.1:9587 or :9587, or "" for none, are needed`

// readMetrics returns "" for a field with nothing after it: empty is off, where
// only an absent one is the default.
func readMetrics(s *section) string {
	v, _ := scalar(s, "metrics", wantMetrics, plain)
	if _, there := s.fields["metrics"]; !there {
		return defaultMetrics
	}
	return v
}

// fillIn sets the defaults that this command needs itself; dataplane has the
// others.
func (c *configuration) fillIn(names nodeNames) {
	c.fillInSource(names)
	c.Plane.Interface = cmp.Or(c.Plane.Interface, dataplane.DefaultInterface)
	c.Plane.ListenPort = cmp.Or(c.Plane.ListenPort, dataplane.DefaultListenPort)
	c.Plane.StateDir = cmp.Or(c.Plane.StateDir, dataplane.DefaultStateDir)
	c.Plane.BPFFS = cmp.Or(c.Plane.BPFFS, dataplane.DefaultBPFFS)
	c.RunDir = cmp.Or(c.RunDir, defaultRunDir)
}

// maxSocketPath is the longest path of a Unix socket in bytes: sun_path of
// unix(7) has 108, with the 0 at its end.
const maxSocketPath = 107

// validate says what only the values together, or their meaning, tell; errors
// are dataplane.FieldErrors, joined.
func (c *configuration) validate() error {
	var errs []error
	bad := func(field, value, problem string) {
		errs = append(errs, &dataplane.FieldError{Field: field, Value: value, Problem: problem})
	}
	if !filepath.IsAbs(c.RunDir) {
		bad("runDir", c.RunDir, "an absolute path is needed")
	}
	c.validateSource(bad)
	if n := len(c.socketPath()); n > maxSocketPath {
		bad("runDir", c.RunDir, fmt.Sprintf("the path of the control socket %s would have %d bytes, and %d are possible; set runDir to a shorter path", filepath.Base(c.socketPath()), n, maxSocketPath))
	}
	if c.Metrics != "" && !listenAddress(c.Metrics) {
		bad("metrics", c.Metrics, wantMetrics)
	}
	_, err := dataplane.New(c.standIn().plane(slog.New(slog.DiscardHandler), unread{}))
	return errors.Join(append(errs, err)...)
}

// locate turns errors that name fields into errors that name lines.
func (d *document) locate(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			d.locate(e)
		}
		return
	}
	var field *dataplane.FieldError
	switch {
	case err == nil:
	case errors.As(err, &field):
		line := cmp.Or(d.lines[place{field.Field, field.Value}], d.lines[place{field.Field, ""}], 1)
		d.errs = append(d.errs, configError{d.file, line, field.Field, shorten(field.Value), field.Problem})
	default:
		d.errs = append(d.errs, configError{File: d.file, Line: 1, Problem: err.Error()})
	}
}

// err joins what was found, in the order of lines.
func (d *document) err() error {
	slices.SortStableFunc(d.errs, func(a, b configError) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, len(d.errs))
	for i, e := range d.errs {
		errs[i] = e
	}
	return errors.Join(errs...)
}

func plain(s string) (string, error) { return s, nil }

// parseEndpoint takes "" for the default.
func parseEndpoint(s string) (netip.AddrPort, error) {
	if s == "" {
		return netip.AddrPort{}, nil
	}
	return netip.ParseAddrPort(s)
}

func parseLevel(s string) (slog.Level, error) {
	switch s {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q is no log level", s)
}

func parseFormat(s string) (asJSON bool, err error) {
	if s != "text" && s != "json" {
		return false, fmt.Errorf("%q is no log format", s)
	}
	return s == "json", nil
}

// listenAddress reports whether one can listen on s: a port, and an address,
// localhost or nothing before it.
func listenAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false
	}
	if host == "" || host == "localhost" {
		return true
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}
