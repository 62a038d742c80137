package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/wgsteer/wgsteer/keymgr"
)

// kubernetesConfig says how the node records are found in Kubernetes.
type kubernetesConfig struct {
	// PodAddresses says whether a node's pods are told by its Node or by Pods.
	PodAddresses podAddresses `json:"podAddresses"`
	// Kubeconfig is a file that says how to reach the API server; "": as a pod does.
	Kubeconfig string `json:"kubeconfig"`
	// StartupTaint is the key of a taint to take off this node when it is guarded and ready; ""
	// for none.
	StartupTaint string `json:"startupTaint"`
}

// String is "" for none.
func (k *kubernetesConfig) String() string {
	if k == nil {
		return ""
	}
	return fmt.Sprintf("podAddresses: %s, kubeconfig: %s, startupTaint: %s", k.PodAddresses, orDash(k.Kubeconfig), orDash(k.StartupTaint))
}

// podAddresses is where a node's pods are told.
type podAddresses string

const (
	podAddressesNode podAddresses = "node" // spec.podCIDRs of its Node
	podAddressesPods podAddresses = "pods" // status.podIPs of every Pod
)

// nodeNameVariable is the environment variable in which a pod's specification
// names the node.
const nodeNameVariable = "NODE_NAME"

func (c *configuration) readSource(s *section) {
	source := s.section("source", "{directory: "+defaultDirectory+"} or {kubernetes: {}}")
	c.Directory = source.text("directory", "")
	// With nothing after it, it is Kubernetes with all defaults: to take it for absent
	// would read another source than the one that is named.
	if e, there := source.fields["kubernetes"]; there {
		c.Kubernetes = readKubernetes(source)
		if c.Directory != "" {
			source.doc.add(e.key, "source.kubernetes", show(e.value), "source.directory is there as well, and records come from one source; remove one of them")
		}
	} else {
		source.take("kubernetes") // so that it is known
	}
	source.rejectUnknown()
}

func readKubernetes(source *section) *kubernetesConfig {
	s := source.section("kubernetes", "{podAddresses: node}")
	k := &kubernetesConfig{}
	k.PodAddresses, _ = scalar(s, "podAddresses", "node or pods is needed", parsePodAddresses)
	k.Kubeconfig = s.text("kubeconfig", "")
	k.StartupTaint = s.text("startupTaint", "")
	s.rejectUnknown()
	return k
}

func parsePodAddresses(s string) (podAddresses, error) {
	switch p := podAddresses(s); p {
	case podAddressesNode, podAddressesPods:
		return p, nil
	}
	return "", fmt.Errorf("%q says nothing of pods' addresses", s)
}

// fillInSource sets the defaults of the source, and of the node's name, which
// depends on it.
func (c *configuration) fillInSource(names nodeNames) {
	if c.Kubernetes == nil {
		c.Directory = cmp.Or(c.Directory, defaultDirectory)
		c.Plane.Node = cmp.Or(c.Plane.Node, names.host)
		return
	}
	c.Kubernetes.PodAddresses = cmp.Or(c.Kubernetes.PodAddresses, podAddressesNode)
	c.Plane.Node = cmp.Or(c.Plane.Node, names.kubernetes, names.host)
}

// maxTaintKey is the longest key of a taint: a DNS subdomain, a slash and a name.
const maxTaintKey = 253 + 1 + 63

func (c *configuration) validateSource(bad func(field, value, problem string)) {
	if c.Kubernetes == nil {
		if !filepath.IsAbs(c.Directory) {
			bad("source.directory", c.Directory, "an absolute path is needed")
		}
		return
	}
	if k := c.Kubernetes.Kubeconfig; k != "" && !filepath.IsAbs(k) {
		bad("source.kubernetes.kubeconfig", k, "an absolute path is needed")
	}
	if t := c.Kubernetes.StartupTaint; len(t) > maxTaintKey || strings.ContainsAny(t, " \t\n=:,") {
		bad("source.kubernetes.startupTaint", t, "the key of a taint is needed, without value and effect, such as wgsteer.io/agent-not-ready")
	}
}

// findsCluster reports whether the prefixes of the cluster's pods are to be found
// in the source.
func (c configuration) findsCluster() bool {
	return c.Kubernetes != nil && len(c.Plane.ClusterCIDRs) == 0
}

// standIn is the configuration with prefixes of the cluster in the place of those
// that are found later, so that the rest can be validated before.
func (c configuration) standIn() configuration {
	if !c.findsCluster() {
		return c
	}
	c.Plane.ClusterCIDRs = c.Plane.PodCIDRs
	if len(c.Plane.ClusterCIDRs) == 0 {
		c.Plane.ClusterCIDRs = []netip.Prefix{netip.MustParsePrefix("100::/64")} // nobody's: RFC 6666
	}
	return c
}

// unread stands for the source where none is read.
type unread struct{ keymgr.Source }
