package dataplane

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
)

// maxKeepalive is what the UAPI protocol can say: 16 bits of seconds.
const maxKeepalive = 65535 * time.Second

// FieldError is a value of Config that cannot be used. Field is the name under
// which configuration files know it.
type FieldError struct {
	Field, Value, Problem string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Field, e.Value, e.Problem)
}

func badField(field string, value any, problem string, args ...any) error {
	v := fmt.Sprint(value)
	if v == "" {
		v = `""`
	}
	return &FieldError{field, v, fmt.Sprintf(problem, args...)}
}

// recordField is what keymgr says of a value that goes into this node's record:
// what no other node would read must not be configured.
func recordField(field, value string, err error) error {
	if err == nil {
		return nil
	}
	problem := strings.TrimPrefix(err.Error(), keymgr.Quote(value))
	return badField(field, value, "%s", strings.TrimLeft(problem, ": "))
}

// withDefaults fills in what needs no look at the host. hostname is used where
// no node is named.
func (c Config) withDefaults(hostname string) Config {
	c.Node = or(c.Node, hostname)
	c.Interface = or(c.Interface, DefaultInterface)
	c.ListenPort = or(c.ListenPort, DefaultListenPort)
	c.Policy = or(c.Policy, Strict)
	c.Backend = or(c.Backend, Userspace)
	c.StateDir = or(c.StateDir, DefaultStateDir)
	c.BPFFS = or(c.BPFFS, DefaultBPFFS)
	c.Logger = or(c.Logger, slog.Default())
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// validate joins every error that can be seen without a look at the host.
func (c Config) validate() error {
	errs := []error{c.validateNames(), c.validateTunnel(), c.validateCluster()}
	if c.Source == nil {
		errs = append(errs, badField("source", "none", "a source of node records is required, such as a directory"))
	}
	return errors.Join(errs...)
}

func (c Config) validateNames() error {
	var errs []error
	errs = append(errs, recordField("node", c.Node, keymgr.CheckName(c.Node)))
	if err := interfaceName(c.Interface); err != "" {
		errs = append(errs, badField("interface", c.Interface, "%s", err))
	} else if strings.Contains(c.Interface, ".") {
		errs = append(errs, badField("interface", c.Interface, "its pins' directory carries the name, and a bpffs takes no dot; choose one without"))
	}
	for _, d := range c.Devices {
		if err := interfaceName(d); err != "" {
			errs = append(errs, badField("devices", d, "%s", err))
		} else if d == c.Interface {
			errs = append(errs, badField("devices", d, "this is the tunnel device; name the uplinks"))
		}
	}
	for _, d := range c.PodDevices {
		if err := steering.CheckPodDevice(d); err != nil {
			errs = append(errs, badField("podDevices", d, "%v", err))
		} else if d == c.Interface {
			errs = append(errs, badField("podDevices", d, "this is the tunnel device; name those that pods are behind"))
		}
	}
	if n := len(c.PodDevices); n > steering.MaxPodDevices {
		errs = append(errs, badField("podDevices", fmt.Sprint(n, " names"), "at most %d; a * at the end stands for many", steering.MaxPodDevices))
	}
	for _, f := range []struct{ field, dir string }{{"stateDir", c.StateDir}, {"bpffs", c.BPFFS}} {
		if !filepath.IsAbs(f.dir) {
			errs = append(errs, badField(f.field, f.dir, "an absolute path is needed"))
		}
	}
	return errors.Join(errs...)
}

// interfaceName says what is wrong with a name, by the rules of the kernel's
// dev_valid_name.
func interfaceName(s string) string {
	switch {
	case s == "" || len(s) > 15:
		return "the name of a network device has 1 to 15 bytes"
	case s == "." || s == ".." || strings.ContainsAny(s, "/: \t\n\v\f\r\x00"):
		return "the name of a network device holds no slash, colon or white space"
	}
	return ""
}

func (c Config) validateTunnel() error {
	var errs []error
	if k := c.PersistentKeepalive; k < 0 || k > maxKeepalive || k%time.Second != 0 {
		errs = append(errs, badField("persistentKeepalive", k, "whole seconds from 0s (off) to %s", maxKeepalive))
	}
	if c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU) {
		errs = append(errs, badField("mtu", c.MTU, "0 (smallest uplink MTU - %d) or %d to %d", overhead, minMTU, maxMTU))
	}
	switch c.Policy {
	case Strict, Permissive:
	default:
		errs = append(errs, badField("policy", c.Policy, "strict or permissive"))
	}
	switch c.Backend {
	case Userspace, Kernel, Auto:
	default:
		errs = append(errs, badField("backend", c.Backend, "userspace, kernel or auto"))
	}
	if err := c.EncapsulationPorts.Check(); err != nil {
		errs = append(errs, badField("encapsulationPorts", fmt.Sprint(c.EncapsulationPorts.VXLAN, c.EncapsulationPorts.Geneve), "%v", err))
	}
	if c.Endpoint != (netip.AddrPort{}) {
		_, err := keymgr.ParseEndpoint(c.Endpoint.String())
		errs = append(errs, recordField("endpoint", c.Endpoint.String(), err))
	}
	return errors.Join(errs...)
}

func (c Config) validateCluster() error {
	var errs []error
	if len(c.ClusterCIDRs) == 0 {
		errs = append(errs, badField("clusterCIDRs", "none", "name the prefixes that hold all pods of the cluster, such as 10.244.0.0/16"))
	}
	for _, f := range []struct {
		field string
		list  []netip.Prefix
		parse func(string) (netip.Prefix, error)
	}{
		{"clusterCIDRs", c.ClusterCIDRs, keymgr.ParsePodCIDR},
		{"podCIDRs", c.PodCIDRs, keymgr.ParsePodCIDR},
		{"nodeCIDRs", c.NodeCIDRs, keymgr.ParseNodeCIDR},
	} {
		for _, p := range f.list {
			_, err := f.parse(p.String())
			errs = append(errs, recordField(f.field, p.String(), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, p := range c.PodCIDRs {
		for _, q := range c.PodCIDRs[:i] {
			if p.Overlaps(q) {
				errs = append(errs, badField("podCIDRs", p, "overlaps %s; keep the wider one", q))
			}
		}
		if !c.holds(p) {
			errs = append(errs, badField("podCIDRs", p, "lies in none of clusterCIDRs (%s); add a prefix there that holds it", join(c.ClusterCIDRs)))
		}
	}
	for _, p := range c.NodeCIDRs {
		for _, cl := range c.ClusterCIDRs {
			if cl.Overlaps(p) {
				errs = append(errs, badField("nodeCIDRs", p, "overlaps clusterCIDRs' %s, which is for pods alone; narrow one of them", cl))
			}
		}
	}
	for i, a := range c.NodeIPs {
		if slices.Contains(c.NodeIPs[:i], a) {
			errs = append(errs, badField("nodeIPs", a, "is given twice"))
		}
		if _, err := keymgr.ParseNodeIP(a.String()); err != nil {
			errs = append(errs, recordField("nodeIPs", a.String(), err))
		} else if cl, in := within(c.ClusterCIDRs, a); in {
			errs = append(errs, inCluster("nodeIPs", a, cl))
		}
	}
	if a := c.Endpoint.Addr(); a.IsValid() {
		if cl, in := within(c.ClusterCIDRs, a); in {
			errs = append(errs, inCluster("endpoint", c.Endpoint, cl))
		}
	}
	return errors.Join(errs...)
}

// inCluster refuses a node address inside a cluster CIDR: the tunnel's own
// datagrams to it would be taken for a pod's and dropped.
func inCluster(field string, value any, cl netip.Prefix) error {
	return badField(field, value, "lies in clusterCIDRs' %s, which is for pods alone; narrow clusterCIDRs", cl)
}

func within(list []netip.Prefix, a netip.Addr) (netip.Prefix, bool) {
	a = a.Unmap()
	for _, p := range list {
		if p.Contains(a) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// contains reports whether inner lies wholly in outer.
func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// holds reports whether all of p is within one of clusterCIDRs.
func (c Config) holds(p netip.Prefix) bool {
	return slices.ContainsFunc(c.ClusterCIDRs, func(cl netip.Prefix) bool { return contains(cl, p) })
}

func join[T fmt.Stringer](list []T) string {
	s := make([]string, len(list))
	for i, v := range list {
		s[i] = v.String()
	}
	return strings.Join(s, ", ")
}
