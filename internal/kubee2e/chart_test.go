package kubee2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const namespace = "kube-system"

// render renders the chart with values, a YAML document, and returns its DaemonSet and,
// as JSON documents, all else.
func render(t testing.TB, values string) (*appsv1.DaemonSet, string) {
	t.Helper()
	cmd := exec.Command("go", "tool", "-modfile=tools/go.mod", "helm", "template", "wgsteer", "deploy/helm/wgsteer",
		"--namespace", namespace, "--include-crds", "--values", "-")
	cmd.Dir, cmd.Stdin = "../..", strings.NewReader(values)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, stderr.Bytes())
	}
	set, rest, err := split(out)
	if err != nil {
		t.Fatalf("read what helm template wrote: %v", err)
	}
	return set, rest
}

func split(manifest []byte) (set *appsv1.DaemonSet, rest string, err error) {
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		var o unstructured.Unstructured
		if err := documents.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, "", err
		}
		if len(o.Object) == 0 {
			continue
		}
		if o.GetKind() != "DaemonSet" {
			text, err := o.MarshalJSON()
			if err != nil {
				return nil, "", err
			}
			rest += "---\n" + string(text)
			continue
		}
		set = &appsv1.DaemonSet{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, set, true); err != nil {
			return nil, "", fmt.Errorf("the DaemonSet: %w", err)
		}
	}
	if set == nil {
		return nil, "", errors.New("there is no DaemonSet")
	}
	return set, rest, nil
}

// install renders the chart and gives the API server all but the DaemonSet, whose
// controller the test is.
func (c *cluster) install(values string) {
	c.t.Helper()
	var rest string
	c.set, rest = render(c.t, values)
	if out, err := c.api.Kubectl(c.t, rest, "apply", "--server-side", "-f", "-"); err != nil {
		c.t.Fatalf("apply the chart: %v\n%s", err, out)
	}
	if out, err := c.api.Kubectl(c.t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd/wireguardnodes.wgsteer.io"); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
}

// startPod starts the DaemonSet's pod on a node.
func (c *cluster) startPod(node string) {
	c.t.Helper()
	if err := c.launch(c.t.Context(), c.set, node); err != nil {
		c.t.Fatal(err)
	}
}

// stopPod ends a node's pod and deletes it.
func (c *cluster) stopPod(node string) {
	c.t.Helper()
	if err := c.halt(c.t.Context(), c.set.Name, node); err != nil {
		c.t.Fatal(err)
	}
}
