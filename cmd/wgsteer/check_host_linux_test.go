package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
)

// TestPodsHere: check asks about the routes to the pods that the source told of, where
// none are configured.
func TestPodsHere(t *testing.T) {
	dir := t.TempDir()
	known, strange, damaged := filepath.Join(dir, "known"), filepath.Join(dir, "strange"), filepath.Join(dir, "damaged")
	told := []netip.Prefix{netip.MustParsePrefix("10.244.7.0/24")}
	for dir, name := range map[string]string{known: "node-a", strange: "node-b", damaged: "node-a"} {
		if err := keymgr.NewStore(dir).SaveClaims(keymgr.Claims{Nodes: []keymgr.Node{{Name: name, PodCIDRs: told}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(damaged, "claims.yaml"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	configured := []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}
	devices, kubernetes := []string{"cni0"}, &kubernetesConfig{}
	for name, tt := range map[string]struct {
		state      string
		pods       []netip.Prefix
		devices    []string
		kubernetes *kubernetesConfig
		want       []netip.Prefix
		warns      string
	}{
		"configured":           {known, configured, devices, kubernetes, configured, ""},
		"told":                 {known, nil, devices, kubernetes, told, ""},
		"not told yet":         {strange, nil, devices, kubernetes, nil, "no daemon has been told yet"},
		"never ran":            {filepath.Join(dir, "none"), nil, devices, kubernetes, nil, "no daemon has been told yet"},
		"nobody tells":         {strange, nil, devices, nil, nil, ""},
		"damaged":              {damaged, nil, devices, kubernetes, nil, "claims.yaml"},
		"damaged, not needed":  {damaged, nil, nil, kubernetes, nil, ""},
		"damaged, nor is this": {damaged, configured, devices, kubernetes, configured, ""},
	} {
		got, found := podsHere(configuration{Kubernetes: tt.kubernetes, Plane: dataplane.Config{
			Node: "node-a", StateDir: tt.state, PodCIDRs: tt.pods, PodDevices: tt.devices,
		}})
		if !reflect.DeepEqual(got, tt.want) || (len(found) == 0) != (tt.warns == "") {
			t.Errorf("%s: %v %+v", name, got, found)
		}
		for _, f := range found {
			if f.Level != levelWarn || !strings.Contains(f.Detail, tt.warns) || len(f.Mend) == 0 {
				t.Errorf("%s: %+v, want a warning of %q", name, f, tt.warns)
			}
		}
	}
}
