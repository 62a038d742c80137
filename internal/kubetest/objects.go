package kubetest

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Clientset is one of the admin's.
func (s *Server) Clientset(t testing.TB) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(s.Admin())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Kubeconfig writes a kubeconfig file with a bearer token, "" for the admin's, and
// returns its path.
func (s *Server) Kubeconfig(t testing.TB, token string) string {
	t.Helper()
	if token == "" {
		token = s.admin
	}
	c := api.NewConfig()
	c.Clusters["test"] = &api.Cluster{Server: s.Client("").Host, CertificateAuthorityData: s.CA}
	c.AuthInfos["test"] = &api.AuthInfo{Token: token}
	c.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil { // mode 0600
		t.Fatal(err)
	}
	return path
}

// Kubectl runs kubectl as the admin, from where the server is, and returns what it
// prints; stdin may be "".
func (s *Server) Kubectl(t testing.TB, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := s.options.Command(Kubectl(t), append([]string{"--kubeconfig", s.Kubeconfig(t, "")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// InstallCRD defines WireGuardNodes and waits until the server serves them.
func (s *Server) InstallCRD(t testing.TB) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	crd := filepath.Join(filepath.Dir(here), "../../deploy/helm/wgsteer/crds")
	for _, args := range [][]string{
		{"apply", "--server-side", "-f", crd},
		{"wait", "--for=condition=Established", "--timeout=60s", "-f", crd},
	} {
		if out, err := s.Kubectl(t, "", args...); err != nil {
			t.Fatalf("kubectl %v: %v\n%s", args, err, out)
		}
	}
}

// Create makes objects as a manifest says them.
func (s *Server) Create(t testing.TB, manifest string) {
	t.Helper()
	if out, err := s.Kubectl(t, manifest, "create", "-f", "-"); err != nil {
		t.Fatalf("create objects: %v\n%s", err, out)
	}
}

// PodToken returns a token of a service account that is bound to a pod, as a kubelet
// gets it. The pod has to exist, with a nodeName.
func (s *Server) PodToken(t testing.TB, namespace, account, pod string) string {
	t.Helper()
	c := s.Clientset(t)
	p, err := c.CoreV1().Pods(namespace).Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s.token(t, namespace, account, &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod, UID: p.UID})
}

// Token returns a token of a service account that is bound to nothing.
func (s *Server) Token(t testing.TB, namespace, account string) string {
	t.Helper()
	return s.token(t, namespace, account, nil)
}

func (s *Server) token(t testing.TB, namespace, account string, bound *authenticationv1.BoundObjectReference) string {
	t.Helper()
	seconds := int64(time.Hour / time.Second)
	r, err := s.Clientset(t).CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, BoundObjectRef: bound}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Status.Token
}

// CreateNode makes a Node with addresses and pod CIDRs.
func (s *Server) CreateNode(t testing.TB, name string, addresses, podCIDRs []string) *corev1.Node {
	t.Helper()
	ctx, nodes := context.Background(), s.Clientset(t).CoreV1().Nodes()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/os": "linux"}}}
	if len(podCIDRs) > 0 {
		n.Spec.PodCIDR, n.Spec.PodCIDRs = podCIDRs[0], podCIDRs
	}
	n, err := nodes.Create(ctx, n, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	if n, err = nodes.UpdateStatus(ctx, n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return n
}

// DeleteNode removes a Node, and what the garbage collector would with it: the record
// that it owns.
func (s *Server) DeleteNode(t testing.TB, name string) {
	t.Helper()
	err := s.Clientset(t).CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	if out, err := s.Kubectl(t, "", "delete", "wireguardnode", name, "--ignore-not-found"); err != nil {
		t.Fatalf("delete the record of %s: %v\n%s", name, err, out)
	}
}
