package kube

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// Right is something that a node's wgsteer has to be allowed to do.
type Right struct {
	Verb, Group, Resource, Subresource, Namespace, Name string
	// For says what for.
	For string
}

// String is a right as people say it: patch wireguardnodes.wgsteer.io/status.
func (r Right) String() string {
	s := r.Verb + " " + r.Resource
	if r.Group != "" {
		s += "." + r.Group
	}
	if r.Subresource != "" {
		s += "/" + r.Subresource
	}
	if r.Name != "" {
		s += " " + r.Name
	}
	if r.Namespace != "" {
		s += " in namespace " + r.Namespace
	}
	return s
}

// Needs says which parts of wgsteer's work in a cluster are wanted.
type Needs struct {
	// Self is this node's name.
	Self string
	// Pods is set where pods' addresses come from Pods, Taint where a taint is taken
	// off this node, Discovery where the cluster's prefixes are found.
	Pods, Taint, Discovery bool
}

// Rights are those that all of needs take.
func Rights(needs Needs) []Right {
	record := func(verb, sub, purpose string) Right {
		return Right{Verb: verb, Group: v1alpha1.GroupVersion.Group, Resource: v1alpha1.Resource, Subresource: sub, Name: needs.Self, For: purpose}
	}
	read := func(group, resource, purpose string) []Right {
		var rights []Right
		for _, verb := range []string{"get", "list", "watch"} {
			rights = append(rights, Right{Verb: verb, Group: group, Resource: resource, For: purpose})
		}
		return rights
	}
	rights := read("", "nodes", "to know the nodes and their pods' prefixes")
	rights = append(rights, read(v1alpha1.GroupVersion.Group, v1alpha1.Resource, "to know the nodes' keys")...)
	create := record("create", "", "to publish this node's key")
	create.Name = "" // a create names nothing: authorization sees no body
	rights = append(rights, create, record("patch", "", "to publish this node's key"), record("patch", "status", "to tell how this node is"))
	if needs.Pods {
		rights = append(rights, read("", "pods", "to know which pod is on which node")...)
	}
	if needs.Taint {
		rights = append(rights, Right{Verb: "patch", Resource: "nodes", Name: needs.Self, For: "to take the start-up taint off this node"})
	}
	if needs.Discovery {
		rights = append(rights, Right{Verb: "get", Resource: "configmaps", Namespace: "kube-system", Name: "kubeadm-config", For: "to find clusterCIDRs"})
	}
	return rights
}

// Refused asks the API server which of rights this process does not have.
func Refused(ctx context.Context, client kubernetes.Interface, rights []Right) ([]Right, error) {
	var refused []Right
	for _, r := range rights {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: r.Verb, Group: r.Group, Resource: r.Resource, Subresource: r.Subresource, Namespace: r.Namespace, Name: r.Name,
		}}}
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("ask the API server for the right to %s: %w", r, err)
		}
		if !answer.Status.Allowed {
			refused = append(refused, r)
		}
	}
	return refused, nil
}
