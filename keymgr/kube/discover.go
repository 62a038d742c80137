package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wgsteer/wgsteer/keymgr"
)

const systemNamespace = "kube-system"

// Discover asks once for the prefixes of the cluster's pods: kubeadm's configuration, and
// the command lines of kube-controller-manager where Pods may be read. An error says that
// the API server could not be asked, or that what it said makes no sense; a cluster that
// tells nothing, or may not be asked for it, is none, and the zero value.
func Discover(ctx context.Context, c *Client) (keymgr.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	for _, ask := range []func(context.Context) (keymgr.Cluster, error){c.kubeadm, c.controllerManager} {
		if found, err := ask(ctx); err != nil || len(found.CIDRs) > 0 {
			return found, err
		}
	}
	return keymgr.Cluster{}, nil
}

// untold is an error of a request for some resource; nil where it is the answer of a
// cluster that does not tell.
func (c *Client) untold(what string, err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	return errors.New(explain(c.Server, what, err))
}

func (c *Client) kubeadm(ctx context.Context) (keymgr.Cluster, error) {
	const name = "kubeadm-config"
	m, err := c.CoreV1().ConfigMaps(systemNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return keymgr.Cluster{}, c.untold("configmaps", err)
	}
	cidrs, field, err := fromKubeadm(m.Data["ClusterConfiguration"])
	from := "ConfigMap " + systemNamespace + "/" + name
	if err != nil {
		return keymgr.Cluster{}, fmt.Errorf("%s: %w; set clusterCIDRs", from, err)
	}
	return keymgr.Cluster{CIDRs: cidrs, From: from + ", " + field}, nil
}

// controllerManager believes Pods of the control plane alone: any kubelet can make a
// Pod with that label on its own node, and every node would take from it what a pod
// is. It cannot label its Node so (NodeRestriction, an admission plugin).
func (c *Client) controllerManager(ctx context.Context) (keymgr.Cluster, error) {
	pods, err := c.CoreV1().Pods(systemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "component=kube-controller-manager"})
	if err != nil {
		return keymgr.Cluster{}, c.untold(podsResource, err)
	}
	for _, p := range pods.Items {
		for _, container := range p.Spec.Containers {
			value, ok := flag(slices.Concat(container.Command, container.Args), clusterCIDR)
			if !ok {
				continue
			}
			n, err := c.CoreV1().Nodes().Get(ctx, p.Spec.NodeName, metav1.GetOptions{})
			if err != nil {
				if err = c.untold(nodesResource, err); err != nil {
					return keymgr.Cluster{}, err
				}
				continue
			}
			if _, trusted := n.Labels[controlPlane]; !trusted {
				continue
			}
			from := "Pod " + systemNamespace + "/" + p.Name + ", --" + clusterCIDR
			cidrs, err := parseCIDRs(value)
			if err != nil {
				return keymgr.Cluster{}, fmt.Errorf("%s: %w; set clusterCIDRs", from, err)
			}
			return keymgr.Cluster{CIDRs: cidrs, From: from}, nil
		}
	}
	return keymgr.Cluster{}, nil
}

const (
	clusterCIDR  = "cluster-cidr" // a flag of kube-controller-manager
	controlPlane = "node-role.kubernetes.io/control-plane"
)

// flag returns the value of the last --name=value or --name value.
func flag(args []string, name string) (value string, ok bool) {
	for i, a := range args {
		a, dashed := strings.CutPrefix(a, "--")
		if v, is := strings.CutPrefix(a, name+"="); is && dashed {
			value, ok = v, true
		} else if dashed && a == name && i+1 < len(args) {
			value, ok = args[i+1], true
		}
	}
	return value, ok
}

// fromKubeadm reads kubeadm's ClusterConfiguration: its networking.podSubnet, or the
// controller manager's extra argument, which is an entry of a map in v1beta3 and of
// a list in v1beta4.
func fromKubeadm(text string) (cidrs []netip.Prefix, field string, err error) {
	var doc struct {
		Networking struct {
			PodSubnet string `yaml:"podSubnet"`
		} `yaml:"networking"`
		ControllerManager struct {
			ExtraArgs any `yaml:"extraArgs"`
		} `yaml:"controllerManager"`
	}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, "", fmt.Errorf("ClusterConfiguration is not YAML: %s", firstLine(err))
	}
	field, value := "networking.podSubnet", doc.Networking.PodSubnet
	if value == "" {
		field, value = "controllerManager.extraArgs."+clusterCIDR, extraArg(doc.ControllerManager.ExtraArgs)
	}
	if cidrs, err = parseCIDRs(value); err != nil {
		return nil, "", fmt.Errorf("%s: %w", field, err)
	}
	return cidrs, field, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// extraArg is the value of cluster-cidr in either form.
func extraArg(args any) string {
	var value any
	switch args := args.(type) {
	case map[string]any:
		value = args[clusterCIDR]
	case []any:
		for _, a := range args {
			if a, ok := a.(map[string]any); ok && a["name"] == clusterCIDR {
				value = a["value"] // the last one counts
			}
		}
	}
	s, _ := value.(string)
	return s
}

// parseCIDRs reads prefixes with commas between them.
func parseCIDRs(value string) ([]netip.Prefix, error) {
	var cidrs []netip.Prefix
	for s := range strings.SplitSeq(value, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		p, err := keymgr.ParsePodCIDR(s)
		if err != nil {
			return nil, err
		}
		cidrs = append(cidrs, p)
	}
	return cidrs, nil
}
