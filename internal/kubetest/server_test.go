package kubetest_test

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wgsteer/wgsteer/internal/kubetest"
)

const record = `
apiVersion: wgsteer.io/v1alpha1
kind: WireGuardNode
metadata: {name: node-a}
spec:
  publicKeys: [{key: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", state: Active}]
  endpoints: ["192.0.2.1:51871", "[2001:db8::1]:51871"]
  nodeIPs: [192.0.2.1, "2001:db8::1"]
  persistentKeepalive: 25s
`

// One server for all: a start takes seconds of both cores.
func TestServer(t *testing.T) {
	s := kubetest.Start(t, kubetest.Options{})
	s.InstallCRD(t)
	t.Run("records", func(t *testing.T) { testRecords(t, s) })
	t.Run("tokens", func(t *testing.T) { testTokens(t, s) })
	t.Run("restart", func(t *testing.T) { testRestart(t, s) })
}

// What the definition refuses, and what it shows.
func testRecords(t *testing.T, s *kubetest.Server) {
	s.Create(t, record)
	for name, c := range map[string]struct{ from, to, want string }{
		"no key":                         {`publicKeys: [{key: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", state: Active}]`, "publicKeys: []", "spec.publicKeys"},
		"a short key":                    {`hSDwCYkwp1R0i33ctD73Wg2/`, "hSDwCYkw", "spec.publicKeys[0].key"},
		"no active key":                  {"state: Active", "state: Next", "exactly one key has the state Active"},
		"an unknown state":               {"state: Active", "state: Old", "spec.publicKeys[0].state"},
		"an endpoint that is no address": {"192.0.2.1:51871", "node-a.example:51871", "spec.endpoints[0]"},
		"an address that is none":        {"nodeIPs: [192.0.2.1,", "nodeIPs: [300.1.1.1,", "an IP address is needed"},
		"a keepalive without unit":       {"25s", `"25"`, "spec.persistentKeepalive"},
		"an unknown field":               {"spec:", "spec:\n  podCIDRs: [10.0.0.0/8]", "podCIDRs"},
		"a megabyte":                     {"nodeIPs: [", "nodeIPs: [" + strings.Repeat("192.0.2.9,", 100_000), "spec.nodeIPs"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(strings.Replace(record, "node-a}", "node-b}", 1), c.from, c.to, 1)
			out, err := s.Kubectl(t, changed, "create", "--validate=strict", "-f", "-")
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("%v: want a refusal that names %q\n%.2000s", err, c.want, out)
			}
		})
	}
	out, err := s.Kubectl(t, "", "get", "wgn", "-o", "wide")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"READY", "GUARDED", "PEERS", "BACKEND", "ENDPOINT", "MTU", "PUBLIC KEY", "node-a", "192.0.2.1:51871", "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="} {
		if !strings.Contains(out, want) {
			t.Errorf("kubectl get wireguardnodes shows no %s:\n%s", want, out)
		}
	}
}

// A token bound to a pod tells the pod's node, one that is not does not.
func testTokens(t *testing.T, s *kubetest.Server) {
	s.Create(t, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: agent, namespace: default}
---
apiVersion: v1
kind: Pod
metadata: {name: agent-a, namespace: default}
spec: {nodeName: node-a, serviceAccountName: agent, containers: [{name: agent, image: none}]}
`)
	s.CreateNode(t, "node-a", []string{"192.0.2.1"}, []string{"10.244.1.0/24"})
	node := func(token string) string {
		c, err := kubernetes.NewForConfig(s.Client(token))
		if err != nil {
			t.Fatal(err)
		}
		who, err := c.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(who.Status.UserInfo.Extra["authentication.kubernetes.io/node-name"], " ")
	}
	if got := node(s.PodToken(t, "default", "agent", "agent-a")); got != "node-a" {
		t.Errorf("the pod's token tells node %q", got)
	}
	if got := node(s.Token(t, "default", "agent")); got != "" {
		t.Errorf("a token without pod tells node %q", got)
	}
}

// What was written is there after a crash of the API server, at the same address.
func testRestart(t *testing.T, s *kubetest.Server) {
	s.Kill()
	if out, err := s.Kubectl(t, "", "get", "wgn", "node-a", "--request-timeout=5s"); err == nil {
		t.Fatalf("a dead server answers: %s", out)
	}
	s.Start(t)
	if out, err := s.Kubectl(t, "", "get", "wgn", "node-a"); err != nil {
		t.Errorf("after a restart: %v\n%s", err, out)
	}
}
