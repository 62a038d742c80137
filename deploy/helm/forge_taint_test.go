package helm_test

import (
	"context"
	"encoding/json"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const (
	notItsNode    = "wgsteer on node node-a may take the taint off that node alone, not "
	notItsTaint   = "takes off the taint wgsteer.io/agent-not-ready and changes no other"
	notSpec       = "changes nothing of a Node's spec but its taint"
	notTaints     = "wgsteer changes Nodes' taints and nothing else"
	notMeta       = "changes nothing of a Node's metadata"
	startupTaint  = "wgsteer.io/agent-not-ready" // of testdata/values/startup-taint.yaml
	noSuchRightOn = `cannot patch resource "nodes`
)

type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

var (
	own     = taint{Key: startupTaint, Effect: "NoExecute"}
	ownToo  = taint{Key: startupTaint, Effect: "NoSchedule"}
	foreign = taint{Key: "example.org/gpu", Value: "yes", Effect: "NoSchedule"}
)

// Each finds both Nodes cordoned, with own, ownToo and foreign.
var taintAttempts = []attempt{
	{"its taint, both of its effects", "a", patchTaints("node-a", foreign), yes},
	{"one of its effects", "a", patchTaints("node-a", ownToo, foreign), yes},
	{"nothing", "a", patchNode("node-a", `{}`), yes},
	{"its own of the other", "b", patchTaints("node-b", foreign), yes},

	{"another Node's", "a", patchTaints("node-b", foreign), notItsNode + "node-b"},
	{"another taint", "a", patchTaints("node-a", own, ownToo), notItsTaint},
	{"all taints", "a", patchTaints("node-a"), notItsTaint},
	{"adding one", "a", patchTaints("node-a", own, ownToo, foreign, taint{Key: "example.org/full", Effect: "NoExecute"}), notItsTaint},
	{"adding its own with another effect", "a", patchTaints("node-a", own, ownToo, foreign, taint{Key: startupTaint, Effect: "PreferNoSchedule"}), notItsTaint},
	{"changing another's value", "a", patchTaints("node-a", own, ownToo, taint{foreign.Key, "no", foreign.Effect}), notItsTaint},
	{"a label", "a", patchNode("node-a", `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`), notMeta},
	{"a label away", "a", patchNode("node-a", `{"metadata":{"labels":{"kubernetes.io/os":null}}}`), notMeta},
	{"all labels away", "a", patchNode("node-a", `{"metadata":{"labels":null}}`), notMeta},
	{"an annotation", "a", patchNode("node-a", `{"metadata":{"annotations":{"example.org/a":"b"}}}`), notMeta},
	{"a finalizer", "a", patchNode("node-a", `{"metadata":{"finalizers":["example.org/stay"]}}`), notMeta},
	{"an owner", "a", patchNode("node-a", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"node-b","uid":"x"}]}}`), notMeta},
	{"uncordoning it", "a", patchNode("node-a", `{"spec":{"unschedulable":null}}`), notSpec},
	{"a provider's id", "a", patchNode("node-a", `{"spec":{"providerID":"elsewhere://1"}}`), notSpec},
	{"its taint and a label", "a", patchNode("node-a", `{"metadata":{"labels":{"a":"b"}},"spec":{"taints":[{"key":"example.org/gpu","value":"yes","effect":"NoSchedule"}]}}`), notMeta},
	{"its status", "a", patchNode("node-a", `{"status":{"addresses":[]}}`, "status"), noSuchRightOn},
	{"deleting it", "a", deleteNode("node-a"), `cannot delete resource "nodes"`},

	{"a token of no pod", "unbound", patchTaints("node-a", foreign), noNode},
	{"the name without a token", "bare", patchTaints("node-a", foreign), noNode},
	{"somebody else's token", "stranger", patchTaints("node-a", foreign), noSuchRightOn},
	{"the policies are about nobody else", "operator", patchNode("node-a", `{"metadata":{"labels":{"a":"b"}}}`), yes},
}

func patchNode(name, patch string, subresources ...string) func(context.Context, dynamic.Interface) error {
	return func(ctx context.Context, c dynamic.Interface) error {
		_, err := c.Resource(nodes).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
		return err
	}
}

// patchTaints leaves a Node with these.
func patchTaints(name string, taints ...taint) func(context.Context, dynamic.Interface) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"taints": append([]taint{}, taints...)}})
	if err != nil {
		panic(err)
	}
	return patchNode(name, string(patch))
}

func deleteNode(name string) func(context.Context, dynamic.Interface) error {
	return func(ctx context.Context, c dynamic.Interface) error {
		return c.Resource(nodes).Delete(ctx, name, metav1.DeleteOptions{})
	}
}

func createNode(name string) func(context.Context, dynamic.Interface) error {
	return func(ctx context.Context, c dynamic.Interface) error {
		n := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name}}}
		_, err := c.Resource(nodes).Create(ctx, n, metav1.CreateOptions{})
		return err
	}
}

// resetNodes undoes what an attempt did to taints, and cordons the Nodes.
func resetNodes(t *testing.T, admin dynamic.Interface) {
	t.Helper()
	for _, n := range []string{"node-a", "node-b"} {
		for _, do := range []func(context.Context, dynamic.Interface) error{
			patchTaints(n, own, ownToo, foreign), patchNode(n, `{"spec":{"unschedulable":true}}`),
		} {
			if err := do(t.Context(), admin); err != nil {
				t.Fatal(err)
			}
		}
	}
}
