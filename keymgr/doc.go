// Package keymgr keeps this node's private key (Store), says what a node tells
// the others of itself (Node) and where the others' records come from (Source),
// and decides between nodes that claim the same thing (Claims).
//
// It is called by dataplane and by the verbs of cmd/wgsteer. It does not talk
// to a tunnel and never sends a private key anywhere; keymgr/file is the
// Source that reads a directory, keymgr/kube the one that reads Kubernetes.
package keymgr
