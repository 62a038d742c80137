package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whose records come from Kubernetes needs to say nothing else: the node's name comes
// from the pod, the cluster's prefixes are found later.
func TestKubernetesConfig(t *testing.T) {
	names := nodeNames{host: "some-host", kubernetes: "node-a"}
	for name, tt := range map[string]struct {
		text string
		want kubernetesConfig
		node string
	}{
		"alone":            {"source: {kubernetes: {}}\n", kubernetesConfig{PodAddresses: "node"}, "node-a"},
		"nothing after it": {"source:\n  kubernetes:\n  # podAddresses: pods\n", kubernetesConfig{PodAddresses: "node"}, "node-a"},
		"all": {"node: other\nsource: {kubernetes: {podAddresses: pods, kubeconfig: /etc/k, startupTaint: wgsteer.io/agent-not-ready}}\n",
			kubernetesConfig{"pods", "/etc/k", "wgsteer.io/agent-not-ready"}, "other"},
		"with prefixes":      {cluster + "podCIDRs: [10.244.1.0/24]\nsource: {kubernetes: {}}\n", kubernetesConfig{PodAddresses: "node"}, "node-a"},
		"with pods' alone":   {"podCIDRs: [10.244.1.0/24]\nsource: {kubernetes: {}}\n", kubernetesConfig{PodAddresses: "node"}, "node-a"},
		"empty values":       {"source: {directory: '', kubernetes: {kubeconfig: '', startupTaint: ''}}\n", kubernetesConfig{PodAddresses: "node"}, "node-a"},
		"with the node's IP": {"nodeIPs: [192.0.2.1]\nsource: {kubernetes: {}}\n", kubernetesConfig{PodAddresses: "node"}, "node-a"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseConfig("f", []byte(tt.text), names)
			if err != nil {
				t.Fatal(err)
			}
			if got.Kubernetes == nil || got.Directory != "" || got.Plane.Node != tt.node {
				t.Fatalf("got %+v", got)
			}
			if diff := cmp.Diff(tt.want, *got.Kubernetes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := !strings.Contains(tt.text, cluster); got.findsCluster() != want {
				t.Errorf("the cluster's prefixes are found: %v, want %v (they are %v)", !want, want, got.Plane.ClusterCIDRs)
			}
		})
	}
	// Without Kubernetes the variable says nothing, and without the variable the host does.
	if c, err := parseConfig("f", []byte(cluster), names); err != nil || c.Plane.Node != "some-host" {
		t.Errorf("with a directory: %q, %v", c.Plane.Node, err)
	}
	if c, err := parseConfig("f", []byte("source: {kubernetes: {}}"), nodeNames{host: "some-host"}); err != nil || c.Plane.Node != "some-host" {
		t.Errorf("without the variable: %q, %v", c.Plane.Node, err)
	}
}

func TestKubernetesConfigErrors(t *testing.T) {
	const start = "source:\n  kubernetes:\n    "
	for name, tt := range map[string]struct{ text, want string }{
		"two sources":          {"source:\n  directory: /etc/n\n  kubernetes: {}\n", "f:3: source.kubernetes: {}: source.directory is there as well, and records come from one source; remove one of them"},
		"two, one empty":       {"source:\n  kubernetes:\n  directory: /etc/n\n", "f:2: source.kubernetes: (empty): source.directory is there as well, and records come from one source; remove one of them"},
		"a text":               {"source:\n  kubernetes: yes please\n", "f:2: source.kubernetes: yes please: fields are needed here, such as {podAddresses: node}"},
		"an unknown field":     {start + "podAddress: pods\n", "f:3: source.kubernetes.podAddress: pods: unknown field; did you mean source.kubernetes.podAddresses?"},
		"pods' addresses":      {start + "podAddresses: cni\n", "f:3: source.kubernetes.podAddresses: cni: node or pods is needed"},
		"a relative file":      {start + "kubeconfig: ~/.kube/config\n", "f:3: source.kubernetes.kubeconfig: ~/.kube/config: an absolute path is needed"},
		"a taint with effect":  {start + "startupTaint: wgsteer.io/agent-not-ready:NoExecute\n", "f:3: source.kubernetes.startupTaint: wgsteer.io/agent-not-ready:NoExecute: the key of a taint is needed, without value and effect, such as wgsteer.io/agent-not-ready"},
		"a directory, no CIDR": {"source: {directory: /n}\n", "f:1: clusterCIDRs: none: name the prefixes that hold all pods of the cluster, such as 10.244.0.0/16"},
		"a node among pods":    {"podCIDRs: [10.244.1.0/24]\nnodeIPs: [10.244.1.1]\n" + start + "podAddresses: node\n", "f:2: nodeIPs: 10.244.1.1: lies in clusterCIDRs' 10.244.1.0/24, which is for pods alone; narrow clusterCIDRs"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig("f", []byte(tt.text), nodeNames{host: "h"})
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// What of the source cannot change while the daemon runs.
func TestSourceStaysInAReload(t *testing.T) {
	parse := func(text string) configuration {
		c, err := parseConfig("f", []byte(cluster+text), nodeNames{host: "h"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := parse("source: {kubernetes: {}}\n")
	if err := unchangeable(old, parse("source: {kubernetes: {podAddresses: node}}\nmtu: 1400\n")); err != nil {
		t.Errorf("nothing of the source has changed: %v", err)
	}
	for text, want := range map[string]string{
		"source: {kubernetes: {podAddresses: pods}}\n": "source.kubernetes: ",
		"source: {kubernetes: {startupTaint: t}}\n":    "source.kubernetes: ",
		"source: {kubernetes: {kubeconfig: /k}}\n":     "source.kubernetes: ",
		"source: {directory: /n}\n":                    "source.directory: ",
	} {
		if err := unchangeable(old, parse(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "restart the daemon") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
