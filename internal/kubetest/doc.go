// Package kubetest runs a real kube-apiserver with its etcd for a test: no kubelet, no
// controller, no scheduler. What these would do, a test does by the API, or asserts
// that it is asked for: nothing collects what an owner leaves, nothing starts a pod.
//
// The binaries are those of scripts/apiserver, which scripts/setup calls; a test
// skips where they are missing, by package privtest's rules. It is for tests alone.
package kubetest
