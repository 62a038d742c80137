package helm_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/wgsteer/wgsteer/internal/kubetest"
)

// The nodes, each with a pod of wgsteer's; and a service account of somebody's that may do
// whatever wgsteer may, and one that may do nothing.
const world = `
apiVersion: v1
kind: Pod
metadata: {name: wgsteer-a, namespace: kube-system}
spec: {nodeName: node-a, serviceAccountName: wgsteer, containers: [{name: wgsteer, image: none}]}
---
apiVersion: v1
kind: Pod
metadata: {name: wgsteer-b, namespace: kube-system}
spec: {nodeName: node-b, serviceAccountName: wgsteer, containers: [{name: wgsteer, image: none}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: operator, namespace: kube-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: wgsteer}
subjects: [{kind: ServiceAccount, name: operator, namespace: kube-system}]
`

// allRights is somebody's mistake, which leaves the policies alone to refuse.
const allRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: mistake}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: wgsteer, namespace: kube-system}]
`

// forgers are the clients of testForge by name.
type forgers map[string]dynamic.Interface

// attempt is one request and what becomes of it: "" it is done; else it is forbidden, for
// a reason that contains this.
type attempt struct {
	name, who string
	do        func(context.Context, dynamic.Interface) error
	want      string
}

func (a attempt) check(ctx context.Context, as forgers) error {
	err := a.do(ctx, as[a.who])
	switch {
	case a.want == "":
		return err
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), a.want):
		return nil
	}
	return fmt.Errorf("got: %v; want: forbidden, for %q", err, a.want)
}

func testForge(t *testing.T, s *kubetest.Server) {
	apply(t, s, render(t, "testdata/values/startup-taint.yaml"))
	for _, n := range []string{"node-a", "node-b"} {
		s.CreateNode(t, n, []string{"192.0.2.1"}, []string{"10.42.1.0/24"})
	}
	s.Create(t, world)
	as := forgers{
		"admin":    client(t, s.Admin()),
		"a":        client(t, s.Client(s.PodToken(t, "kube-system", "wgsteer", "wgsteer-a"))),
		"b":        client(t, s.Client(s.PodToken(t, "kube-system", "wgsteer", "wgsteer-b"))),
		"unbound":  client(t, s.Client(s.Token(t, "kube-system", "wgsteer"))),
		"operator": client(t, s.Client(s.Token(t, "kube-system", "operator"))),
		"stranger": client(t, s.Client(s.Token(t, "kube-system", "stranger"))),
		"bare":     client(t, bare(s)),
	}
	waitFor(t, "roles and policies work", func() error {
		resetNodes(t, as["admin"])
		for _, a := range []attempt{
			{"its own record", "b", applyRecord("node-b"), yes},
			{"its own taint", "b", patchTaints("node-b", foreign), yes},
			{"another's record", "b", applyRecord("node-a"), "wgsteer-own-record"},
			{"another's Node", "b", patchNode("node-a", `{}`), "wgsteer-own-taint"},
		} {
			if err := a.check(t.Context(), as); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
		return nil
	})
	t.Run("records", func(t *testing.T) { try(t, as, recordAttempts) })
	t.Run("taints", func(t *testing.T) { try(t, as, taintAttempts) })
	s.Create(t, allRights)
	waitFor(t, "all rights", func() error {
		return attempt{"", "a", patchNode("node-a", `{"status":{"phase":""}}`, "status"), "wgsteer-own-taint"}.check(t.Context(), as)
	})
	t.Run("with all rights", func(t *testing.T) { try(t, as, policyAttempts) })
}

// bare is a user with the service account's name and nothing that the server says of a
// token, as one of a Secret has it.
func bare(s *kubetest.Server) *rest.Config {
	c := s.Admin()
	c.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:wgsteer"}
	return c
}

func try(t *testing.T, as forgers, attempts []attempt) {
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			resetNodes(t, as["admin"])
			if err := a.check(t.Context(), as); err != nil {
				t.Error(err)
			}
		})
	}
}

func applyRecord(name string, change ...func(*unstructured.Unstructured)) func(context.Context, dynamic.Interface) error {
	return func(ctx context.Context, c dynamic.Interface) error {
		_, err := c.Resource(records).Apply(ctx, name, record(name, change...), asWgsteer)
		return err
	}
}

func applyStatus(name string) func(context.Context, dynamic.Interface) error {
	return func(ctx context.Context, c dynamic.Interface) error {
		o := record(name)
		delete(o.Object, "spec")
		o.SetOwnerReferences(nil)
		o.Object["status"] = map[string]any{"backend": "userspace"}
		_, err := c.Resource(records).ApplyStatus(ctx, name, o, asWgsteer)
		return err
	}
}

func patchRecord(name, patch string) func(context.Context, dynamic.Interface) error {
	return func(ctx context.Context, c dynamic.Interface) error {
		_, err := c.Resource(records).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
}

func createRecord(change func(*unstructured.Unstructured)) func(context.Context, dynamic.Interface) error {
	return func(ctx context.Context, c dynamic.Interface) error {
		_, err := c.Resource(records).Create(ctx, record("node-c", change), metav1.CreateOptions{})
		return err
	}
}

func deleteRecord(name string) func(context.Context, dynamic.Interface) error {
	return func(ctx context.Context, c dynamic.Interface) error {
		return c.Resource(records).Delete(ctx, name, metav1.DeleteOptions{})
	}
}

func owners(refs ...metav1.OwnerReference) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) { o.SetOwnerReferences(refs) }
}

func with(r metav1.OwnerReference, change func(*metav1.OwnerReference)) metav1.OwnerReference {
	change(&r)
	return r
}
