package kubee2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// controller does for the chart's DaemonSet what kube-controller-manager and kubelets
// do: a pod for each Node, replaced one at a time when the template changes, the next
// when the last is ready; and the DaemonSet's status.
type controller struct {
	c    *cluster
	runs map[string]string // by node: the template of the pod that runs
}

// control runs a controller until the test ends.
func (c *cluster) control() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d := &controller{c: c, runs: map[string]string{}}
		for ctx.Err() == nil {
			if err := d.step(ctx); err != nil && ctx.Err() == nil {
				c.t.Logf("the DaemonSet's controller: %v", err) // and again
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	c.t.Cleanup(func() { cancel(); <-done })
}

// step does one thing of those that are to be done.
func (d *controller) step(ctx context.Context) error {
	client := d.c.api.Clientset(d.c.t)
	set, err := client.AppsV1().DaemonSets(namespace).Get(ctx, "wgsteer", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return d.endAll(ctx)
	}
	if err != nil {
		return err
	}
	want, err := hash(set)
	if err != nil {
		return err
	}
	changed := false
	status := appsv1.DaemonSetStatus{ObservedGeneration: set.Generation}
	for _, n := range d.c.Nodes {
		status.DesiredNumberScheduled++
		switch {
		case d.runs[n.Name] != want && !changed && status.NumberUnavailable == 0:
			changed = true
			if err := d.replace(ctx, set, n.Name, want); err != nil {
				return err
			}
			status.NumberUnavailable++
			status.UpdatedNumberScheduled++
		case d.runs[n.Name] == want:
			status.UpdatedNumberScheduled++
			if d.c.kubelets[n.Name].ready(set) {
				status.NumberReady++
			} else {
				status.NumberUnavailable++
			}
		}
	}
	status.CurrentNumberScheduled, status.NumberAvailable = status.UpdatedNumberScheduled, status.NumberReady
	set.Status = status
	_, err = client.AppsV1().DaemonSets(namespace).UpdateStatus(ctx, set, metav1.UpdateOptions{})
	return err
}

func (d *controller) replace(ctx context.Context, set *appsv1.DaemonSet, node, template string) error {
	if err := d.end(ctx, node); err != nil {
		return err
	}
	if err := d.c.launch(ctx, set, node); err != nil {
		return err
	}
	d.runs[node] = template
	return nil
}

func (d *controller) endAll(ctx context.Context) error {
	for node := range d.runs {
		if err := d.end(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

func (d *controller) end(ctx context.Context, node string) error {
	if d.runs[node] == "" {
		return nil
	}
	delete(d.runs, node)
	return d.c.halt(ctx, "wgsteer", node)
}

func hash(set *appsv1.DaemonSet) (string, error) {
	text, err := json.Marshal(set.Spec.Template)
	return fmt.Sprintf("%x", sha256.Sum256(text)), err
}

// ready asks the container's readiness probe; without one, a container that runs is
// ready.
func (k *kubelet) ready(set *appsv1.DaemonSet) bool {
	main := set.Spec.Template.Spec.Containers[0]
	if k.runsNow() != main.Name {
		return false
	}
	probe := main.ReadinessProbe
	if probe == nil {
		return true
	}
	get := probe.HTTPGet
	var at int32
	for _, p := range main.Ports {
		if p.Name == get.Port.StrVal {
			at = p.ContainerPort
		}
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = k.Do(func() error {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return err
			})
			return conn, err
		}}}
	reply, err := client.Get(fmt.Sprintf("http://%s:%d%s", get.Host, at, get.Path))
	if err != nil {
		return false
	}
	reply.Body.Close()
	return reply.StatusCode == http.StatusOK
}

// launch makes a node's pod and has it run.
func (c *cluster) launch(ctx context.Context, set *appsv1.DaemonSet, node string) error {
	client := c.api.Clientset(c.t).CoreV1()
	// Admission adds what else there is, the token above all.
	p, err := client.Pods(namespace).Create(ctx, podOf(set, node), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make the pod of %s: %w", node, err)
	}
	maps, err := client.ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	s := surroundings{hostIPs: c.node(node).IPs, apiServer: c.apiServer(), configMaps: map[string]map[string]string{},
		token: c.api.PodToken(c.t, namespace, p.Spec.ServiceAccountName, p.Name)}
	for _, m := range maps.Items {
		s.configMaps[m.Name] = m.Data
	}
	return c.kubelets[node].run(p, s)
}

// halt ends a node's pod and deletes it, and with it its token.
func (c *cluster) halt(ctx context.Context, set, node string) error {
	c.kubelets[node].end()
	now := int64(0)
	return c.api.Clientset(c.t).CoreV1().Pods(namespace).Delete(ctx, set+"-"+node, metav1.DeleteOptions{GracePeriodSeconds: &now})
}

// podOf is the pod of a DaemonSet for a node.
func podOf(set *appsv1.DaemonSet, node string) *corev1.Pod {
	template := set.Spec.Template.DeepCopy()
	template.Spec.NodeName = node
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: set.Name + "-" + node, Namespace: namespace, Labels: template.Labels, Annotations: template.Annotations},
		Spec:       template.Spec,
	}
}
