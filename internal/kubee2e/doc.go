// Package kubee2e tests wgsteer in Kubernetes as a whole: nodes and pods of
// internal/netlab, a real API server of internal/kubetest on their underlay, and on
// each node what the rendered chart's DaemonSet says, run as a kubelet and a container
// runtime would.
//
// There is no scheduler and no controller: the tests do what these would. It has no
// code of its own; nobody imports it.
package kubee2e
