package kubee2e_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// admitted is the pod of testdata/daemonset.yaml with what admission adds to it.
func admitted(t *testing.T) *corev1.Pod {
	t.Helper()
	text, err := os.ReadFile("testdata/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, rest, err := split(text)
	if err != nil || !strings.Contains(rest, `"kind":"ServiceAccount"`) || !strings.Contains(rest, `"kind":"ConfigMap"`) {
		t.Fatalf("%v; beside the DaemonSet there is %s", err, rest)
	}
	p := podOf(set, "node-a")
	p.UID, p.Spec.RestartPolicy = "uid", corev1.RestartPolicyAlways
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}}}},
	}}}})
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		list[0].VolumeMounts = append(list[0].VolumeMounts, corev1.VolumeMount{Name: "access", MountPath: serviceAccountDir, ReadOnly: true})
	}
	return p
}

var around = surroundings{
	hostIPs:    []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
	apiServer:  netip.MustParseAddrPort("192.0.2.254:6443"),
	configMaps: map[string]map[string]string{"agent": {"config.yaml": "node: x"}, "kube-root-ca.crt": {"ca.crt": "certificate"}},
	token:      "secret",
}

func TestOrder(t *testing.T) {
	got, err := order(admitted(t), around)
	if err != nil {
		t.Fatal(err)
	}
	const volumes = "/var/lib/kubelet/pods/uid/volumes/"
	guard := container{
		Name: "guard",
		Args: []string{"/usr/local/bin/wgsteer", "guard"},
		Env: []string{"HOSTNAME=node-a", "KUBERNETES_SERVICE_HOST=192.0.2.254", "KUBERNETES_SERVICE_PORT=6443",
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Mounts: []mount{
			{Source: "/dev/net/tun", Target: "/dev/net/tun"},
			{Source: volumes + "config", Target: "/etc/wgsteer", ReadOnly: true},
			{Source: "/run/wgsteer", Target: "/run/wgsteer"},
			{Source: "/sys/fs/bpf", Target: "/sys/fs/bpf"},
			{Source: "/var/lib/wgsteer", Target: "/var/lib/wgsteer"},
			{Source: volumes + "access", Target: serviceAccountDir, ReadOnly: true},
			{Source: "/var/run/wireguard", Target: "/var/run/wireguard"},
		},
		Capabilities:    []string{"NET_ADMIN", "BPF"},
		ReadOnlyRoot:    true,
		NoNewPrivileges: true,
	}
	agent := guard
	agent.Name, agent.Args = "agent", []string{"/usr/local/bin/wgsteer", "run"}
	agent.Env = []string{"GREETING=hello", guard.Env[0], guard.Env[1], guard.Env[2], "NODE_NAME=node-a", guard.Env[3]}
	want := orders{
		Init: []container{guard}, Main: []container{agent},
		Directories: []string{"/var/lib/wgsteer", "/run/wgsteer", "/var/run/wireguard"},
		Files: map[string]string{volumes + "config/config.yaml": "node: x", volumes + "access/token": "secret",
			volumes + "access/ca.crt": "certificate", volumes + "access/namespace": "kube-system"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
}

// What the tests' kubelet does not do must not go unnoticed.
func TestOrderRefuses(t *testing.T) {
	for want, change := range map[string]func(*corev1.PodSpec){
		"without hostNetwork":             func(s *corev1.PodSpec) { s.HostNetwork = false },
		"hostPID":                         func(s *corev1.PodSpec) { s.HostPID = true },
		"runAsUser":                       func(s *corev1.PodSpec) { u := int64(7); s.Containers[0].SecurityContext.RunAsUser = &u },
		"privileged":                      func(s *corev1.PodSpec) { yes := true; s.InitContainers[0].SecurityContext.Privileged = &yes },
		"default capabilities":            func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities.Drop = nil },
		"envFrom":                         func(s *corev1.PodSpec) { s.Containers[0].EnvFrom = []corev1.EnvFromSource{{Prefix: "X_"}} },
		"subPath":                         func(s *corev1.PodSpec) { s.Containers[0].VolumeMounts[0].SubPath = "config.yaml" },
		"volume gone":                     func(s *corev1.PodSpec) { s.Containers[0].VolumeMounts[0].Name = "gone" },
		"no ConfigMap other":              func(s *corev1.PodSpec) { s.Volumes[0].ConfigMap.Name = "other" },
		"volume state: its kind":          func(s *corev1.PodSpec) { s.Volumes[1].VolumeSource = corev1.VolumeSource{} },
		"variables in them":               func(s *corev1.PodSpec) { s.Containers[0].Args = []string{"run", "$(NODE_NAME)"} },
		"field status.podIPs":             func(s *corev1.PodSpec) { s.Containers[0].Env[0].ValueFrom.FieldRef.FieldPath = "status.podIPs" },
		"GREETING: only fields are known": func(s *corev1.PodSpec) { s.Containers[0].Env[1].ValueFrom = &corev1.EnvVarSource{} },
		"restartPolicy than Always":       func(s *corev1.PodSpec) { s.RestartPolicy = corev1.RestartPolicyNever },
		"mountPropagation": func(s *corev1.PodSpec) {
			b := corev1.MountPropagationBidirectional
			s.Containers[0].VolumeMounts[0].MountPropagation = &b
		},
	} {
		p := admitted(t)
		change(&p.Spec)
		if _, err := order(p, around); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error that says %q", err, want)
		}
	}
}
