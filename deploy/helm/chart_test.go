package helm_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/golden from what is rendered")

// dashboards are the data of their ConfigMap, at which TestDashboards looks.
var dashboards = regexp.MustCompile(`(?m)^data:(\n  [a-z0-9-]+\.json: ".*")+\n`)

// helmPath builds helm where the build cache has it not, and tells where it is.
var helmPath = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "tool", "-modfile=../../tools/go.mod", "-n", "helm").CombinedOutput()
	return strings.TrimSpace(string(out)), err
})

// helm runs it on the chart, as a release named wgsteer in kube-system.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := helmPath()
	if err != nil {
		t.Fatalf("build helm: %v\n%s", err, path)
	}
	cmd := exec.Command(path, args...)
	// Neither the user's repositories nor a cluster of theirs.
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home,
		"KUBECONFIG=/dev/null", "HELM_NAMESPACE=kube-system")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// valueSets are the files in testdata/values by their names.
func valueSets(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no values to test: %v", err)
	}
	sets := map[string]string{}
	for _, p := range paths {
		sets[strings.TrimSuffix(filepath.Base(p), ".yaml")] = p
	}
	return sets
}

// render is what is installed with a file of values.
func render(t *testing.T, values string) string {
	t.Helper()
	out, err := helm(t, "template", "wgsteer", "wgsteer", "--values", values)
	if err != nil {
		t.Fatalf("helm template with %s: %v\n%s", values, err, out)
	}
	return out
}

// TestLint: helm finds nothing to complain of, whatever the values.
func TestLint(t *testing.T) {
	for name, values := range valueSets(t) {
		if out, err := helm(t, "lint", "--strict", "--quiet", "wgsteer", "--values", values); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestGolden: what is rendered is what was looked at when it was committed.
func TestGolden(t *testing.T) {
	for name, values := range valueSets(t) {
		t.Run(name, func(t *testing.T) { golden(t, name+".yaml", render(t, values)) })
		t.Run(name+"/notes", func(t *testing.T) {
			out, err := helm(t, "install", "wgsteer", "wgsteer", "--dry-run=client", "--values", values)
			_, notes, found := strings.Cut(out, "\nNOTES:\n")
			if err != nil || !found {
				t.Fatalf("helm install --dry-run: %v\n%s", err, out)
			}
			golden(t, name+".txt", notes)
		})
	}
}

// TestDashboards: the ConfigMap has every file, as it is.
func TestDashboards(t *testing.T) {
	paths, err := filepath.Glob("wgsteer/dashboards/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dashboards to test: %v", err)
	}
	got := data(t, render(t, "testdata/values/everything.yaml"), "wgsteer-dashboards")
	want := map[string]string{}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		want[filepath.Base(p)] = string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dashboards (-want +got):\n%s", diff)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = dashboards.ReplaceAllString(got, "data: {} # or dashboards\n")
	path := filepath.Join("testdata/golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test ./deploy/helm -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), go test ./deploy/helm -update writes it:\n%s", path, diff)
	}
}

// data is that of the ConfigMap of a name.
func data(t *testing.T, manifest, name string) map[string]string {
	t.Helper()
	for _, object := range strings.Split(manifest, "\n---\n") {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
		}
		if err := yaml.Unmarshal([]byte(object), &o); err != nil {
			t.Fatal(err)
		}
		if o.Kind == "ConfigMap" && o.Metadata.Name == name {
			return o.Data
		}
	}
	t.Fatalf("no ConfigMap %s was rendered", name)
	return nil
}

// TestRefused: a wrong value is an error that names it.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ values, want string }{
		"a misspelt value":           {`listenport: 51871`, "additional properties 'listenport' not allowed"},
		"a misspelt inner one":       {`encryption: {wireguard: {keepalive: 25s}}`, "/encryption/wireguard': additional properties 'keepalive' not allowed"},
		"port 0":                     {`listenPort: 0`, "at '/listenPort'"},
		"a port above 65535":         {`prometheus: {port: 65536}`, "at '/prometheus/port'"},
		"a port as text":             {`listenPort: "51871"`, "at '/listenPort'"},
		"another backend":            {`backend: ipsec`, "at '/backend': value must be one of 'userspace', 'kernel', 'auto'"},
		"another source of pods":     {`podAddresses: nodes`, "at '/podAddresses'"},
		"an address for a prefix":    {`clusterCIDRs: [10.244.0.0]`, "at '/clusterCIDRs/0'"},
		"a prefix too long":          {`clusterCIDRs: [10.244.0.0/16, 10.0.0.0/33]`, "at '/clusterCIDRs/1'"},
		"octets beyond 255":          {`nodeCIDRs: [10.256.0.0/16]`, "at '/nodeCIDRs/0'"},
		"an IPv6 prefix too long":    {`nodeCIDRs: ["2001:db8::/129"]`, "at '/nodeCIDRs/0'"},
		"a keepalive without unit":   {`encryption: {wireguard: {persistentKeepalive: "25"}}`, "at '/encryption/wireguard/persistentKeepalive'"},
		"a keepalive as a number":    {`encryption: {wireguard: {persistentKeepalive: 25}}`, "at '/encryption/wireguard/persistentKeepalive'"},
		"a device's name too long":   {`devices: [a-name-of-16-chars]`, "at '/devices/0'"},
		"an MTU too small":           {`mtu: 500`, "at '/mtu'"},
		"nine ports":                 {`encapsulationPorts: {vxlan: [1, 2, 3, 4, 5, 6, 7, 8, 9]}`, "at '/encapsulationPorts/vxlan'"},
		"another level":              {`logLevel: trace`, "at '/logLevel'"},
		"a taint that is no key":     {`startupTaint: {key: "not a key"}`, "at '/startupTaint/key'"},
		"a digest that is none":      {`image: {digest: latest}`, "at '/image/digest'"},
		"a surge":                    {`updateStrategy: {rollingUpdate: {maxSurge: 1}}`, "at '/updateStrategy/rollingUpdate/maxSurge'"},
		"no node at a time":          {`updateStrategy: {rollingUpdate: {maxUnavailable: 0}}`, "at '/updateStrategy/rollingUpdate/maxUnavailable'"},
		"a capability with CAP_":     {`extraCapabilities: [CAP_NET_RAW]`, "at '/extraCapabilities/0'"},
		"strict one way":             {`encryption: {strictMode: {ingress: {enabled: false}}}`, "encryption.strictMode.egress.enabled is true and encryption.strictMode.ingress.enabled is false: wgsteer has one policy for both directions"},
		"a monitor of loopback":      {`prometheus: {serviceMonitor: {enabled: true}}`, "prometheus.serviceMonitor.enabled needs prometheus.enabled"},
		"an old cluster":             {``, "chart requires kubeVersion: >=1.30.0-0"},
		"half of the API's address":  {`k8sServicePort: 6443`, "k8sServiceHost and k8sServicePort"},
		"the address without a port": {`k8sServiceHost: 192.0.2.10`, "k8sServiceHost and k8sServicePort"},
	} {
		t.Run(name, func(t *testing.T) {
			values := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(values, []byte(c.values), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"template", "wgsteer", "wgsteer", "--values", values}
			if c.values == "" {
				args = append(args, "--kube-version", "1.29.3")
			}
			if out, err := helm(t, args...); err == nil || !strings.Contains(out, c.want) {
				t.Errorf("%v: want a refusal that says %q\n%s", err, c.want, out)
			}
		})
	}
}

// TestVendorsVersions: a cluster whose version has a suffix is as new as it says.
func TestVendorsVersions(t *testing.T) {
	for _, v := range []string{"v1.30.0", "v1.30.5-gke.1234", "v1.33.1+k3s1"} {
		if out, err := helm(t, "template", "wgsteer", "wgsteer", "--kube-version", v); err != nil {
			t.Errorf("%s: %v\n%s", v, err, out)
		}
	}
}
