package helm_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/wgsteer/wgsteer/internal/kubetest"
	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// The definition of ServiceMonitors is the operator's own, of a release that Go's module
// proxy has: a schema of 70 kB that is not ours to keep.
const (
	operatorModule = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
	operatorSum    = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
	monitorCRD     = "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"
)

// TestOnServer: a real API server takes what is rendered, to the last field, and lets
// nobody do what the policies are against. One server for all: a start takes seconds.
func TestOnServer(t *testing.T) {
	s := kubetest.Start(t, kubetest.Options{})
	t.Run("install", func(t *testing.T) { testInstall(t, s) })
	s.InstallCRD(t)
	t.Run("apply", func(t *testing.T) { testApply(t, s) })
	t.Run("forge", func(t *testing.T) { testForge(t, s) })
}

// testInstall: helm itself installs the chart, changes the release and removes it; records
// outlive it.
func testInstall(t *testing.T, s *kubetest.Server) {
	kubeconfig := s.Kubeconfig(t, "")
	for _, c := range []struct{ args, verbs string }{
		{"install wgsteer wgsteer", "guard run"},
		{"upgrade wgsteer wgsteer --reuse-values --set startupTaint.enabled=true", "guard run"},
		{"upgrade wgsteer wgsteer --reuse-values --set teardown=true", " teardown"},
		{"uninstall wgsteer", `Error from server (NotFound): daemonsets.apps "wgsteer" not found`},
	} {
		if out, err := helm(t, append(strings.Fields(c.args), "--kubeconfig", kubeconfig)...); err != nil {
			t.Fatalf("helm %s: %v\n%s", c.args, err, out)
		}
		verbs, _ := s.Kubectl(t, "", "get", "daemonset", "wgsteer", "-n", "kube-system", "-o",
			"jsonpath={.spec.template.spec.initContainers[*].args[0]} {.spec.template.spec.containers[*].args[0]}")
		if strings.TrimSuffix(verbs, "\n") != c.verbs {
			t.Errorf("after helm %s the pods run %q, not %q", c.args, verbs, c.verbs)
		}
	}
	if out, err := s.Kubectl(t, "", "get", "wireguardnodes"); err != nil || !strings.Contains(out, "No resources found") {
		t.Errorf("kubectl get wireguardnodes: %v\n%s", err, out)
	}
}

// testApply: kubectl sends the fields as they are and the server refuses those it does
// not know.
func testApply(t *testing.T, s *kubetest.Server) {
	if out, err := s.Kubectl(t, "", "apply", "--server-side", "-f", serviceMonitorCRD(t)); err != nil {
		t.Fatalf("define ServiceMonitors: %v\n%s", err, out)
	}
	if out, err := s.Kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd/servicemonitors.monitoring.coreos.com"); err != nil {
		t.Fatalf("define ServiceMonitors: %v\n%s", err, out)
	}
	for name, values := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			manifest := render(t, values)
			out := apply(t, s, manifest)
			if got, want := strings.Count(out, "serverside-applied"), strings.Count("\n"+manifest, "\nkind: "); got != want {
				t.Errorf("%d of %d objects were applied:\n%s", got, want, out)
			}
		})
	}
}

// apply makes the server's objects those of a manifest.
func apply(t *testing.T, s *kubetest.Server, manifest string) string {
	t.Helper()
	out, err := s.Kubectl(t, manifest, "apply", "--server-side", "--validate=strict", "-f", "-")
	if err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, out)
	}
	return out
}

// serviceMonitorCRD is the path of the definition, fetched where the module cache has it not.
func serviceMonitorCRD(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", operatorModule).Output()
	var module struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(out, &module); err != nil || jsonErr != nil {
		privtest.Missing(t, fmt.Sprintf("this test needs the module %s: %v, %v, %s", operatorModule, err, jsonErr, module.Error))
	}
	if module.Sum != operatorSum {
		t.Fatalf("%s has the checksum %s, not %s", operatorModule, module.Sum, operatorSum)
	}
	path := filepath.Join(module.Dir, monitorCRD)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	records = v1alpha1.GroupVersion.WithResource(v1alpha1.Resource)
	nodes   = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
)

func client(t *testing.T, c *rest.Config) dynamic.Interface {
	t.Helper()
	d, err := dynamic.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// record is one as wgsteer writes it, changed by the given functions.
func record(name string, change ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       v1alpha1.Kind,
		"metadata":   map[string]any{"name": name},
		"spec": map[string]any{
			"publicKeys": []any{map[string]any{"key": "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", "state": "Active"}},
			"endpoints":  []any{"192.0.2.1:51871"},
		},
	}}
	o.SetOwnerReferences([]metav1.OwnerReference{owner(name)})
	for _, f := range change {
		f(o)
	}
	return o
}

// owner is the reference to a Node. The server does not look whether there is one.
func owner(node string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node, UID: "8d0aa2a7-93c0-4c3c-a4a6-8d2a1b6c0f00"}
}

var asWgsteer = metav1.ApplyOptions{FieldManager: "wgsteer", Force: true}

// waitFor polls: the server takes up roles and policies when it sees them, some hundred
// milliseconds after they were written, and tells nobody.
func waitFor(t *testing.T, what string, done func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
