// Package netlab builds a small cluster out of network namespaces: nodes on a
// bridged underlay, pods behind each node, and between the pods a network as one
// of several kinds of CNI lays it (CNI). It moves real traffic between the pods
// (Flow) and watches the underlay (Capture).
//
//	underlay namespace:  bridge br0, a port for each node, the default gateway
//	node namespace:      eth0 on the underlay; the pods' veths, on a bridge cni0
//	                     or each by itself; a vxlan device and the like
//	pod namespace:       eth0, its default route leads to the node
//
// It is called by tests, by `wgsteer lab` and by the benchmark. Of this
// module it knows package wire alone: what runs in a node is the caller's, by
// Command. Nothing of it touches the network of the host; it needs root.
//
// A lab leaves nothing behind. Down removes it; a reaper process does when its
// owner dies; New labs sweep up after owners whose reaper died too. Only a lab
// that was handed on by Detach stays until somebody calls Down. What remains is
// the empty directory /run/wgsteer-lab.
package netlab
