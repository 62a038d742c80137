// Package v1alpha1 is the custom resource wgsteer.io/v1alpha1 WireGuardNode: what
// one node's wgsteer tells those of the others, and how it fares.
//
// It is data alone. Package keymgr/kube reads and writes it; the definition that
// a cluster needs is made from here: deploy/helm/wgsteer/crds.
//
// +kubebuilder:object:generate=true
// +groupName=wgsteer.io
package v1alpha1

//go:generate go tool -modfile=../../../tools/go.mod controller-gen object crd:crdVersions=v1 paths=. output:object:dir=. output:crd:dir=../../../deploy/helm/wgsteer/crds
