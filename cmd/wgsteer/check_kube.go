package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// examineWithin is how long the API server may take to answer all that is asked.
const examineWithin = 15 * time.Second

// checkKubernetes looks at all that wgsteer needs of the API server, and returns the
// configuration with what was found there.
func checkKubernetes(ctx context.Context, c configuration) (configuration, []finding) {
	if c.Kubernetes == nil {
		return c, nil
	}
	client, err := c.client()
	if err != nil {
		return c, []finding{{"kubernetes", levelFail, err.Error(), []string{
			"in a pod, the service account's token has to be mounted (automountServiceAccountToken)",
			"elsewhere, name a file that says how to reach the API server: source.kubernetes.kubeconfig",
		}}}
	}
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	findings := judgeKubernetes(c, kube.Examine(ctx, client, kube.Needs{
		Self: c.Plane.Node, Pods: c.Kubernetes.PodAddresses == podAddressesPods,
		Taint: c.Kubernetes.StartupTaint != "", Discovery: c.findsCluster(),
	}))
	if !c.findsCluster() {
		return c, findings
	}
	remembered, err := keymgr.NewStore(c.Plane.StateDir).PeekCluster()
	if err != nil {
		findings = append(findings, finding{"clusterCIDRs", levelWarn, err.Error(), nil})
	}
	next, err := c.lookUpCluster(ctx, slog.New(slog.DiscardHandler), remembered)
	return next, append(findings, judgeCluster(next, err))
}

// again is what to do about an answer that did not come, or may be another next time.
const again = "where it took too long or the API server was just starting, check again"

// judgeKubernetes is pure.
func judgeKubernetes(c configuration, e kube.Examination) []finding {
	if e.Unreachable != nil {
		return []finding{{"kubernetes", levelFail, "the API server does not answer: " + e.Unreachable.Error(), []string{
			"a running daemon goes on with what it knows; changes of nodes wait until the API server is back",
			"does a firewall let this node reach it? kubectl get --raw /version",
		}}}
	}
	findings := []finding{{"kubernetes", levelOK, "the API server answers, version " + e.Version, nil}}
	return append(findings, judgeRights(e), judgeDefinition(e), judgeOwnNode(c.Plane.Node, e))
}

func judgeRights(e kube.Examination) finding {
	switch {
	case e.RefusedError != nil:
		return finding{"rights", levelFail, e.RefusedError.Error(), []string{
			"every account may ask by default (ClusterRole system:basic-user); this shows what this one may: kubectl auth can-i --list",
			again,
		}}
	case len(e.Refused) == 0:
		return finding{"rights", levelOK, "all that is needed is allowed", nil}
	}
	var names, mend []string
	for _, r := range e.Refused {
		names = append(names, r.String())
		mend = append(mend, fmt.Sprintf("%s: needed %s", r, r.For))
	}
	return finding{"rights", levelFail, "not allowed: " + strings.Join(names, ", "),
		append(mend, "add these to the ClusterRole (for kube-system: the Role) that this process's account is bound to, as the chart deploy/helm/wgsteer does")}
}

func judgeDefinition(e kube.Examination) finding {
	switch {
	case e.DefinedError != nil:
		return finding{"definition", levelFail, "ask for the kind WireGuardNode: " + e.DefinedError.Error(), []string{
			"see what the API server says: kubectl get --raw /apis/" + v1alpha1.GroupVersion.String(),
			again,
		}}
	case !e.Defined:
		return finding{"definition", levelFail, "the API server has no WireGuardNodes (wgsteer.io/v1alpha1)",
			[]string{"kubectl apply --server-side -f deploy/helm/wgsteer/crds"}}
	}
	return finding{"definition", levelOK, "the API server has WireGuardNodes", nil}
}

func judgeOwnNode(name string, e kube.Examination) finding {
	switch {
	case e.NodeError != nil:
		return finding{"node", levelFail, fmt.Sprintf("read the Node %s: %v", name, e.NodeError), []string{
			"see what the API server says: kubectl get node " + name + "; where it refuses, rights names what is missing",
			again,
		}}
	case !e.Node:
		return finding{"node", levelFail, "there is no Node " + name, []string{
			"set " + nodeNameVariable + " in the pod to spec.nodeName, or node to the name that kubectl get nodes shows",
		}}
	}
	return finding{"node", levelOK, "the Node " + name + " is there", nil}
}

// judgeCluster says what is known of the cluster's prefixes.
func judgeCluster(c configuration, err error) finding {
	switch {
	case err != nil:
		return finding{"clusterCIDRs", levelFail, err.Error(), nil}
	case c.Cluster.Unconfirmed != "":
		return finding{"clusterCIDRs", levelWarn, foundIn(*c.Cluster), nil}
	}
	return finding{"clusterCIDRs", levelOK, foundIn(*c.Cluster), nil}
}
