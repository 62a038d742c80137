// Package kube is the keymgr.Source that reads a Kubernetes cluster: who the
// nodes are from Nodes, their keys from WireGuardNodes (package v1alpha1), their
// pods from Nodes or from Pods.
//
// Which addresses are a node's pods a record cannot say; only what the cluster's
// own components write counts. The package writes this node's own record and its
// status, and takes one start-up taint off this node; it deletes nothing. It does
// not decide between records that contradict each other: that is keymgr.Resolve.
//
// While the API server does not answer, the snapshots stay as they were, and are
// Partial. The last whole one is kept on disk, for a node that boots meanwhile.
//
// It is made and run by cmd/wgsteer, or by whoever embeds dataplane. It never sees
// a private key.
package kube
