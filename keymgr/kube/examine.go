package kube

import (
	"context"
	"encoding/json"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes"

	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// Examination is what a look at a cluster shows, for `wgsteer check`.
type Examination struct {
	// Version is the API server's; where Unreachable is set, nothing else is known.
	Version     string
	Unreachable error
	// Refused are the rights that this process lacks; RefusedError says why that could
	// not be found out.
	Refused      []Right
	RefusedError error
	// Defined says that the API server serves WireGuardNodes; DefinedError as above.
	Defined      bool
	DefinedError error
	// Node says that there is a Node of this node's name; NodeError as above.
	Node      bool
	NodeError error
}

// Examine looks at all that needs take. It changes nothing.
func Examine(ctx context.Context, client kubernetes.Interface, needs Needs) Examination {
	var e Examination
	var is version.Info
	if err := ask(ctx, client, "/version", &is); err != nil {
		e.Unreachable = err
		return e
	}
	e.Version = is.GitVersion
	e.Refused, e.RefusedError = Refused(ctx, client, Rights(needs))
	e.Defined, e.DefinedError = defined(ctx, client)
	_, err := client.CoreV1().Nodes().Get(ctx, needs.Self, metav1.GetOptions{})
	e.Node, e.NodeError = err == nil, err
	if apierrors.IsNotFound(err) {
		e.NodeError = nil
	}
	return e
}

// defined reports whether the custom resource is there.
func defined(ctx context.Context, client kubernetes.Interface) (bool, error) {
	var resources metav1.APIResourceList
	err := ask(ctx, client, "/apis/"+v1alpha1.GroupVersion.String(), &resources)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return slices.ContainsFunc(resources.APIResources, func(r metav1.APIResource) bool { return r.Name == v1alpha1.Resource }), err
}

// ask reads what is at a path. Those of the discovery client that do so take no context.
func ask(ctx context.Context, client kubernetes.Interface, path string, into any) error {
	text, err := client.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
