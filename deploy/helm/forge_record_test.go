package helm_test

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	notItsRecord = "wgsteer on node node-a may write the record of that node alone, not "
	notItsOwner  = "the record of node node-a is owned by the Node of that name, and by nothing else"
	noNode       = "this one names no node"
	yes          = "" // what want is of what is done
)

var truth = true

// In this order: later ones find what earlier ones wrote.
var recordAttempts = []attempt{
	{"its own record", "a", applyRecord("node-a"), yes},
	{"its own record again", "a", applyRecord("node-a", owners(with(owner("node-a"), func(o *metav1.OwnerReference) { o.UID = "another" }))), yes},
	{"its own status", "a", applyStatus("node-a"), yes},
	{"the other's own", "b", applyRecord("node-b"), yes},
	{"the other's status", "b", applyStatus("node-b"), yes},

	{"another's record", "a", applyRecord("node-b"), notItsRecord + "node-b"},
	{"another's key alone", "a", patchRecord("node-b", `{"spec":{"publicKeys":[{"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","state":"Active"}]}}`), notItsRecord + "node-b"},
	{"another's status", "a", applyStatus("node-b"), notItsRecord + "node-b"},
	{"a node's that has none yet", "a", applyRecord("node-c"), notItsRecord + "node-c"},
	{"the same, created", "a", createRecord(func(*unstructured.Unstructured) {}), notItsRecord + "node-c"},
	{"one of a generated name", "a", createRecord(func(o *unstructured.Unstructured) { o.SetName(""); o.SetGenerateName("node-b") }), notItsRecord},
	{"deleting its own", "a", deleteRecord("node-a"), `cannot delete resource "wireguardnodes"`},
	{"deleting another's", "a", deleteRecord("node-b"), `cannot delete resource "wireguardnodes"`},

	{"owned by another Node", "a", applyRecord("node-a", owners(owner("node-b"))), notItsOwner},
	{"owned by another Node too", "a", applyRecord("node-a", owners(owner("node-a"), with(owner("node-b"), func(o *metav1.OwnerReference) { o.UID = "another" }))), notItsOwner},
	{"owned by two Nodes of its name", "a", applyRecord("node-a", owners(owner("node-a"), with(owner("node-a"), func(o *metav1.OwnerReference) { o.UID = "another" }))), notItsOwner},
	{"owned by a Pod", "a", applyRecord("node-a", owners(with(owner("node-a"), func(o *metav1.OwnerReference) { o.Kind = "Pod" }))), notItsOwner},
	{"owned by a Node of elsewhere", "a", applyRecord("node-a", owners(with(owner("node-a"), func(o *metav1.OwnerReference) { o.APIVersion = "example.org/v1" }))), notItsOwner},
	{"controlled by its Node", "a", applyRecord("node-a", owners(with(owner("node-a"), func(o *metav1.OwnerReference) { o.Controller = &truth }))), notItsOwner},
	{"in its Node's way", "a", applyRecord("node-a", owners(with(owner("node-a"), func(o *metav1.OwnerReference) { o.BlockOwnerDeletion = &truth }))), notItsOwner},
	{"owned by nothing", "a", patchRecord("node-a", `{"metadata":{"ownerReferences":null}}`), notItsOwner},
	{"kept by a finalizer", "a", applyRecord("node-a", func(o *unstructured.Unstructured) { o.SetFinalizers([]string{"example.org/stay"}) }), "neither adds nor removes finalizers"},

	{"a token of no pod", "unbound", applyRecord("node-a"), noNode},
	{"the same, status", "unbound", applyStatus("node-a"), noNode},
	{"the name without a token", "bare", applyRecord("node-a"), noNode},
	{"somebody else's token", "stranger", applyRecord("node-a"), `cannot patch resource "wireguardnodes"`},

	{"the policies are about nobody else", "operator", applyRecord("node-x", owners()), yes},
	{"an administrator deletes", "admin", deleteRecord("node-x"), yes},
}

// What RBAC refuses is refused by the policies as well.
var policyAttempts = []attempt{
	{"deleting its own record", "a", deleteRecord("node-a"), "wgsteer deletes no records"},
	{"deleting another's", "a", deleteRecord("node-b"), "wgsteer deletes no records"},
	{"another's record", "a", applyRecord("node-b"), notItsRecord + "node-b"},
	{"its own record", "a", applyRecord("node-a"), yes},
	{"its Node's status", "a", patchNode("node-a", `{"status":{"phase":"Terminated"}}`, "status"), notTaints},
	{"deleting its Node", "a", deleteNode("node-a"), notTaints},
	{"deleting another's Node", "a", deleteNode("node-b"), notTaints},
	{"making a Node of its name", "a", createNode("node-a"), notTaints},
	{"another Node's taint", "a", patchTaints("node-b", foreign), notItsNode + "node-b"},
	{"its own Node's", "a", patchTaints("node-a", foreign), yes},
}
