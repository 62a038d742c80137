package kubee2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// container is what a node runs for a container of a pod. It goes to the process that
// becomes the container as JSON.
type container struct {
	Name string
	Args []string // the first is a path in the image
	Env  []string
	// Mounts are in the order in which they are made: none hides another.
	Mounts []mount
	// Capabilities, as NET_ADMIN, are all that it has.
	Capabilities    []string
	ReadOnlyRoot    bool
	NoNewPrivileges bool
}

// mount puts something of the node's file system into the container's.
type mount struct {
	Source, Target string
	ReadOnly       bool
}

// orders are all that a node has to do for a pod.
type orders struct {
	Init, Main []container
	// Directories are to be made on the node where they are missing, and Files are to be
	// written, by path.
	Directories []string
	Files       map[string]string
}

// surroundings are what a pod's containers get to know besides their template.
type surroundings struct {
	hostIPs    []netip.Addr
	apiServer  netip.AddrPort
	configMaps map[string]map[string]string // of the pod's namespace
	token      string                       // of the pod's service account
}

// entrypoint is the image's.
var entrypoint = []string{"/usr/local/bin/wgsteer"}

// serviceAccountDir is where admission mounts the token, and where a client looks.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// order is what a pod asks of its node. What it does not know in the pod is an error:
// a test that left it out would show nothing.
func order(p *corev1.Pod, s surroundings) (orders, error) {
	o := orders{Files: map[string]string{}}
	if err := unknown("pod", knownOfPod(p.Spec)); err != nil {
		return o, err
	}
	if !p.Spec.HostNetwork || p.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		return o, errors.New("pods without hostNetwork, or with another restartPolicy than Always, are not known here")
	}
	sources := map[string]string{}
	for _, v := range p.Spec.Volumes {
		source, err := o.volume(p, v, s)
		if err != nil {
			return o, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		sources[v.Name] = source
	}
	for _, list := range []struct {
		from []corev1.Container
		to   *[]container
	}{{p.Spec.InitContainers, &o.Init}, {p.Spec.Containers, &o.Main}} {
		for _, c := range list.from {
			made, err := contain(p, c, sources, s)
			if err != nil {
				return o, fmt.Errorf("container %s: %w", c.Name, err)
			}
			*list.to = append(*list.to, made)
		}
	}
	return o, nil
}

// knownOfPod is a pod's spec less what is known: done, checked, or without effect here.
func knownOfPod(s corev1.PodSpec) corev1.PodSpec {
	s.Volumes, s.InitContainers, s.Containers = nil, nil, nil
	s.HostNetwork, s.RestartPolicy, s.TerminationGracePeriodSeconds = false, "", nil
	// The scheduler's, the controller's and the API server's.
	s.NodeName, s.NodeSelector, s.Affinity, s.Tolerations, s.SchedulerName = "", nil, nil, nil, ""
	s.PriorityClassName, s.Priority, s.PreemptionPolicy = "", nil, nil
	s.ServiceAccountName, s.DeprecatedServiceAccount, s.AutomountServiceAccountToken = "", "", nil
	s.ImagePullSecrets, s.DNSPolicy, s.EnableServiceLinks = nil, "", nil
	if c := s.SecurityContext; c != nil {
		left := *c
		left.AppArmorProfile, left.SELinuxOptions, left.SeccompProfile = nil, nil, nil // no such here
		s.SecurityContext = &left
		if reflect.ValueOf(left).IsZero() {
			s.SecurityContext = nil
		}
	}
	return s
}

func contain(p *corev1.Pod, c corev1.Container, sources map[string]string, s surroundings) (container, error) {
	made := container{Name: c.Name, Args: slices.Concat(c.Command, c.Args)}
	if len(c.Command) == 0 {
		made.Args = slices.Concat(entrypoint, c.Args)
	}
	if strings.Contains(strings.Join(made.Args, " "), "$(") {
		return made, fmt.Errorf("arguments %q: variables in them are not known here", made.Args)
	}
	var err error
	if made.Env, err = environment(p, c.Env, s); err != nil {
		return made, err
	}
	for _, m := range c.VolumeMounts {
		source, ok := sources[m.Name]
		if !ok {
			return made, fmt.Errorf("mounts volume %s, which the pod does not have", m.Name)
		}
		made.Mounts = append(made.Mounts, mount{Source: source, Target: m.MountPath, ReadOnly: m.ReadOnly})
		m.Name, m.MountPath, m.ReadOnly = "", "", false
		if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationBidirectional {
			m.MountPropagation = nil // nothing is mounted later
		}
		if err := unknown("mount", m); err != nil {
			return made, err
		}
	}
	slices.SortStableFunc(made.Mounts, func(a, b mount) int { return strings.Compare(a.Target, b.Target) })
	if err := made.confine(c.SecurityContext); err != nil {
		return made, err
	}
	c.Name, c.Command, c.Args, c.Env, c.VolumeMounts, c.SecurityContext = "", nil, nil, nil, nil, nil
	c.Image, c.ImagePullPolicy, c.Resources, c.Ports = "", "", corev1.ResourceRequirements{}, nil
	c.TerminationMessagePath, c.TerminationMessagePolicy = "", ""
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = nil, nil, nil // asked by the tests
	return made, unknown("container", c)
}

// confine takes over the capabilities and the rest of a security context.
func (c *container) confine(s *corev1.SecurityContext) error {
	if s == nil || s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") {
		return errors.New("a container that keeps a runtime's default capabilities is not known here")
	}
	for _, a := range s.Capabilities.Add {
		c.Capabilities = append(c.Capabilities, string(a))
	}
	left := *s
	if v := s.ReadOnlyRootFilesystem; v != nil {
		c.ReadOnlyRoot, left.ReadOnlyRootFilesystem = *v, nil
	}
	if v := s.AllowPrivilegeEscalation; v != nil {
		c.NoNewPrivileges, left.AllowPrivilegeEscalation = !*v, nil
	}
	if v := s.Privileged; v != nil && !*v {
		left.Privileged = nil
	}
	if v := s.RunAsUser; v != nil && *v == 0 {
		left.RunAsUser = nil
	}
	if v := s.RunAsGroup; v != nil && *v == 0 {
		left.RunAsGroup = nil
	}
	if v := s.RunAsNonRoot; v != nil && !*v {
		left.RunAsNonRoot = nil
	}
	left.Capabilities = nil
	left.AppArmorProfile, left.SELinuxOptions, left.SeccompProfile = nil, nil, nil // no such here
	return unknown("security context", left)
}

// environment is what kubelet and runtime give a container, then its own.
func environment(p *corev1.Pod, vars []corev1.EnvVar, s surroundings) ([]string, error) {
	env := map[string]string{
		"PATH":                    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME":                p.Spec.NodeName, // with hostNetwork
		"KUBERNETES_SERVICE_HOST": s.apiServer.Addr().String(),
		"KUBERNETES_SERVICE_PORT": fmt.Sprint(s.apiServer.Port()),
	}
	for _, v := range vars {
		value := v.Value
		if v.ValueFrom != nil {
			var err error
			if value, err = field(p, v.ValueFrom.FieldRef, s); err != nil {
				return nil, fmt.Errorf("variable %s: %w", v.Name, err)
			}
		}
		env[v.Name] = value
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}

func field(p *corev1.Pod, f *corev1.ObjectFieldSelector, s surroundings) (string, error) {
	if f == nil {
		return "", errors.New("only fields are known here")
	}
	switch f.FieldPath {
	case "spec.nodeName":
		return p.Spec.NodeName, nil
	case "metadata.name":
		return p.Name, nil
	case "metadata.namespace":
		return p.Namespace, nil
	case "status.hostIP", "status.podIP": // one, with hostNetwork
		return s.hostIPs[0].String(), nil
	}
	return "", fmt.Errorf("field %s is not known here", f.FieldPath)
}

// volume returns where on the node a volume is, after orders for what is missing.
func (o *orders) volume(p *corev1.Pod, v corev1.Volume, s surroundings) (string, error) {
	dir := path.Join("/var/lib/kubelet/pods", string(p.UID), "volumes", v.Name)
	switch {
	case v.HostPath != nil:
		if kind := v.HostPath.Type; kind != nil && *kind == corev1.HostPathDirectoryOrCreate {
			o.Directories = append(o.Directories, v.HostPath.Path)
		}
		return v.HostPath.Path, nil
	case v.EmptyDir != nil:
		o.Directories = append(o.Directories, dir)
		return dir, nil
	case v.ConfigMap != nil:
		return dir, o.configMap(dir, v.ConfigMap.Name, v.ConfigMap.Items, s)
	case v.Projected == nil:
		return "", errors.New("its kind is not known here")
	}
	for _, from := range v.Projected.Sources {
		switch {
		case from.ServiceAccountToken != nil && from.ServiceAccountToken.Audience == "":
			o.Files[path.Join(dir, from.ServiceAccountToken.Path)] = s.token
		case from.ConfigMap != nil:
			if err := o.configMap(dir, from.ConfigMap.Name, from.ConfigMap.Items, s); err != nil {
				return "", err
			}
		case from.DownwardAPI != nil:
			for _, i := range from.DownwardAPI.Items {
				value, err := field(p, i.FieldRef, s)
				if err != nil {
					return "", err
				}
				o.Files[path.Join(dir, i.Path)] = value
			}
		default:
			return "", errors.New("one of its sources is not known here")
		}
	}
	return dir, nil
}

func (o *orders) configMap(dir, name string, items []corev1.KeyToPath, s surroundings) error {
	data, ok := s.configMaps[name]
	if !ok {
		return fmt.Errorf("there is no ConfigMap %s", name)
	}
	if len(items) == 0 {
		for key := range data {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, i := range items {
		value, ok := data[i.Key]
		if !ok {
			return fmt.Errorf("ConfigMap %s has no key %s", name, i.Key)
		}
		o.Files[path.Join(dir, i.Path)] = value
	}
	return nil
}

// unknown is an error that shows what is left of an object whose known fields are
// zero by now.
func unknown(what string, left any) error {
	if reflect.ValueOf(left).IsZero() {
		return nil
	}
	text, err := json.Marshal(left)
	if err != nil {
		return err
	}
	return fmt.Errorf("this of the %s is not known here: %s", what, text)
}
