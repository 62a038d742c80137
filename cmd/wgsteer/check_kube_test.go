package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr/kube"
)

func TestJudgeKubernetes(t *testing.T) {
	fine := kube.Examination{Version: "v1.37.2", Defined: true, Node: true}
	lacking := fine
	lacking.Refused = []kube.Right{
		{Verb: "patch", Group: "wgsteer.io", Resource: "wireguardnodes", Subresource: "status", Name: "node-a", For: "to tell how this node is"},
		{Verb: "get", Resource: "configmaps", Namespace: "kube-system", Name: "kubeadm-config", For: "to find clusterCIDRs"},
	}
	failing := kube.Examination{Version: "v1.37.2", RefusedError: errors.New("no reviews"), DefinedError: errors.New("no discovery"), NodeError: errors.New("forbidden")}
	c := configuration{Plane: dataplane.Config{Node: "node-a"}}
	for name, tt := range map[string]struct {
		found kube.Examination
		want  []string // "level name: detail", then what to do in one line
	}{
		"fine": {fine, []string{
			"ok kubernetes: the API server answers, version v1.37.2", "ok rights: all that is needed is allowed",
			"ok definition: the API server has WireGuardNodes", "ok node: the Node node-a is there",
		}},
		"away": {kube.Examination{Unreachable: errors.New("connection refused")}, []string{
			"fail kubernetes: the API server does not answer: connection refused" +
				" | a running daemon goes on with what it knows; changes of nodes wait until the API server is back | does a firewall let this node reach it? kubectl get --raw /version",
		}},
		"rights are lacking": {lacking, []string{
			"ok kubernetes: the API server answers, version v1.37.2",
			"fail rights: not allowed: patch wireguardnodes.wgsteer.io/status node-a, get configmaps kubeadm-config in namespace kube-system" +
				" | patch wireguardnodes.wgsteer.io/status node-a: needed to tell how this node is | get configmaps kubeadm-config in namespace kube-system: needed to find clusterCIDRs" +
				" | add these to the ClusterRole (for kube-system: the Role) that this process's account is bound to, as the chart deploy/helm/wgsteer does",
			"ok definition: the API server has WireGuardNodes", "ok node: the Node node-a is there",
		}},
		"nothing is there": {kube.Examination{Version: "v1.30.0"}, []string{
			"ok kubernetes: the API server answers, version v1.30.0", "ok rights: all that is needed is allowed",
			"fail definition: the API server has no WireGuardNodes (wgsteer.io/v1alpha1) | kubectl apply --server-side -f deploy/helm/wgsteer/crds",
			"fail node: there is no Node node-a | set NODE_NAME in the pod to spec.nodeName, or node to the name that kubectl get nodes shows",
		}},
		"nothing is told": {failing, []string{
			"ok kubernetes: the API server answers, version v1.37.2",
			"fail rights: no reviews | every account may ask by default (ClusterRole system:basic-user); this shows what this one may: kubectl auth can-i --list | " + again,
			"fail definition: ask for the kind WireGuardNode: no discovery | see what the API server says: kubectl get --raw /apis/wgsteer.io/v1alpha1 | " + again,
			"fail node: read the Node node-a: forbidden | see what the API server says: kubectl get node node-a; where it refuses, rights names what is missing | " + again,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range judgeKubernetes(c, tt.found) {
				got = append(got, strings.Join(append([]string{string(f.Level) + " " + f.Name + ": " + f.Detail}, f.Mend...), " | "))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
