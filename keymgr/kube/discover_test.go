package kube

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestFromKubeadm(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []netip.Prefix
		field      string
		err        string
	}{
		{"v1beta3", "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\nnetworking:\n  dnsDomain: cluster.local\n  podSubnet: 10.244.0.0/16,fd00:10:244::/56\n",
			prefixes("10.244.0.0/16", "fd00:10:244::/56"), "networking.podSubnet", ""},
		{"v1beta3, extra argument", "apiVersion: kubeadm.k8s.io/v1beta3\ncontrollerManager:\n  extraArgs:\n    cluster-cidr: 10.1.0.0/16\n    v: \"2\"\n",
			prefixes("10.1.0.0/16"), "controllerManager.extraArgs.cluster-cidr", ""},
		{"v1beta4, extra argument", "apiVersion: kubeadm.k8s.io/v1beta4\ncontrollerManager:\n  extraArgs:\n  - name: v\n    value: \"2\"\n  - name: cluster-cidr\n    value: 10.2.0.0/16\n",
			prefixes("10.2.0.0/16"), "controllerManager.extraArgs.cluster-cidr", ""},
		{"the subnet is what kubeadm passes on", "networking:\n  podSubnet: 10.3.0.0/16\ncontrollerManager: {}\n", prefixes("10.3.0.0/16"), "networking.podSubnet", ""},
		{"neither", "networking:\n  serviceSubnet: 10.96.0.0/12\n", nil, "", ""},
		{"nothing", "", nil, "", ""},
		{"no prefix", "networking:\n  podSubnet: many\n", nil, "", `networking.podSubnet: "many" is not an IP prefix`},
		{"no YAML", "networking: [", nil, "", "ClusterConfiguration is not YAML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, field, err := fromKubeadm(c.text)
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("prefixes (-want +got):\n%s", diff)
			}
			if c.field != "" && field != c.field {
				t.Errorf("found in %q, want %q", field, c.field)
			}
			if (err != nil) != (c.err != "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestFlag(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"kube-controller-manager", "--v=2", "--cluster-cidr=10.0.0.0/8"}, "10.0.0.0/8"},
		{[]string{"--cluster-cidr", "10.0.0.0/8", "--v=2"}, "10.0.0.0/8"},
		{[]string{"--cluster-cidr=10.0.0.0/8", "--cluster-cidr=10.1.0.0/16"}, "10.1.0.0/16"},
		{[]string{"--service-cluster-ip-range=10.0.0.0/8", "--cluster-cidr"}, ""},
		{[]string{"cluster-cidr=10.0.0.0/8"}, ""},
	} {
		if got, ok := flag(c.args, clusterCIDR); got != c.want || ok != (c.want != "") {
			t.Errorf("%q: %q, %v", c.args, got, ok)
		}
	}
}

func TestWithoutTaint(t *testing.T) {
	other, ours := corev1.Taint{Key: "other"}, corev1.Taint{Key: "k", Effect: corev1.TaintEffectNoSchedule}
	twice := ours
	twice.Effect = corev1.TaintEffectNoExecute
	for name, c := range map[string]struct {
		taints []corev1.Taint
		want   []operation
	}{
		"none":     {nil, nil},
		"another":  {[]corev1.Taint{other}, nil},
		"ours":     {[]corev1.Taint{other, ours}, []operation{{"test", "/spec/taints/1", ours}, {"remove", "/spec/taints/1", nil}}},
		"two of k": {[]corev1.Taint{ours, other, twice}, []operation{{"test", "/spec/taints/2", twice}, {"remove", "/spec/taints/2", nil}, {"test", "/spec/taints/0", ours}, {"remove", "/spec/taints/0", nil}}},
	} {
		if diff := cmp.Diff(c.want, withoutTaint(c.taints, "k")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
