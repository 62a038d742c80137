package kube

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// cluster is the objects that a Run follows.
type cluster struct {
	nodes   *store[nodeFacts]
	records *store[recordFacts]
	pods    *store[podFacts] // nil without
}

func newCluster(self string, from PodAddresses, changed func()) *cluster {
	c := &cluster{
		nodes:   &store[nodeFacts]{facts: factsOfNode(self), changed: changed},
		records: &store[recordFacts]{facts: factsOfRecord(self), changed: changed, order: orderOfKeys},
	}
	if from == FromPods {
		c.pods = &store[podFacts]{facts: factsOfPod, changed: changed}
	}
	return c
}

// filled reports whether everything was listed once.
func (c *cluster) filled() bool {
	return c.nodes.filled() && c.records.filled() && (c.pods == nil || c.pods.filled())
}

func factsOfNode(self string) func(any) (string, nodeFacts, bool) {
	return func(object any) (string, nodeFacts, bool) {
		n, ok := object.(*corev1.Node)
		if !ok {
			return "", nodeFacts{}, false
		}
		f := nodeFacts{uid: n.UID, podCIDRs: n.Spec.PodCIDRs}
		if len(f.podCIDRs) == 0 && n.Spec.PodCIDR != "" {
			f.podCIDRs = []string{n.Spec.PodCIDR}
		}
		for _, a := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil { // else a host's name
				f.addresses = append(f.addresses, ip.Unmap())
			}
		}
		if n.Name == self {
			f.taints = n.Spec.Taints
		}
		return n.Name, f, true
	}
}

func factsOfRecord(self string) func(any) (string, recordFacts, bool) {
	return func(object any) (string, recordFacts, bool) {
		r, ok := object.(*v1alpha1.WireGuardNode)
		if !ok {
			return "", recordFacts{}, false
		}
		f := recordFacts{spec: r.Spec}
		if keymgr.IsReason(r.Status.Backend) { // people are shown it
			f.backend = r.Status.Backend
		}
		if keymgr.IsReason(r.Status.BackendReason) {
			f.backendReason = r.Status.BackendReason
		}
		if r.Name == self {
			f.owners, f.status = r.OwnerReferences, r.Status
		}
		return r.Name, f, true
	}
}

// orderOfKeys notes when a record got its key: the API server tells changes of records
// in their order.
func orderOfKeys(old recordFacts, there bool, r *recordFacts, at uint64) {
	key := func(r recordFacts) string {
		k, _ := activeKey(r.spec.PublicKeys) // no key is one as well
		return k.String()
	}
	if r.keyed = at; there && key(old) == key(*r) {
		r.keyed = old.keyed
	}
}

// factsOfPod leaves out pods that have no addresses of their own, or need them no
// more.
func factsOfPod(object any) (string, podFacts, bool) {
	p, ok := object.(*corev1.Pod)
	if !ok {
		return "", podFacts{}, false
	}
	f := podFacts{node: p.Spec.NodeName, created: p.CreationTimestamp.Time, ending: p.DeletionTimestamp != nil}
	for _, a := range p.Status.PodIPs {
		if ip, err := netip.ParseAddr(a.IP); err == nil {
			f.ips = append(f.ips, ip.Unmap())
		}
	}
	over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	return p.Namespace + "/" + p.Name, f, f.node != "" && len(f.ips) > 0 && !p.Spec.HostNetwork && !over
}

// The names of what is asked for, as rules of RBAC have them.
const (
	nodesResource = "nodes"
	podsResource  = "pods"
)

// follow keeps the cluster's stores up to date until ctx ends.
func (s *Source) follow(ctx context.Context, c *cluster, group *sync.WaitGroup) {
	run := func(what string, example runtime.Object, to cache.ReflectorStore, list cache.ListWithContextFunc, watch cache.WatchFuncWithContext) {
		r := cache.NewReflectorWithOptions(s.observed(what, list, watch), example, to, cache.ReflectorOptions{
			Name:   what,
			Logger: new(s.clientLogger()),
			// The API server is missed by every node at once.
			Backoff: &wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 1, Cap: 5 * time.Second, Steps: 10},
		})
		group.Go(func() { r.RunWithContext(ctx) })
	}
	nodes := s.client.CoreV1().Nodes()
	run(nodesResource, &corev1.Node{}, c.nodes,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return nodes.List(ctx, o) },
		nodes.Watch)
	run(v1alpha1.Resource, &v1alpha1.WireGuardNode{}, c.records, s.client.listRecords, s.client.watchRecords)
	if c.pods == nil {
		return
	}
	const own = "spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed"
	pods := s.client.CoreV1().Pods(metav1.NamespaceAll)
	run(podsResource, &corev1.Pod{}, c.pods,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = own
			return pods.List(ctx, o)
		},
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = own
			return pods.Watch(ctx, o)
		})
}

func (c *Client) listRecords(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	var l v1alpha1.WireGuardNodeList
	err := c.records.Get().Resource(v1alpha1.Resource).SpecificallyVersionedParams(&o, scheme.ParameterCodec, corev1.SchemeGroupVersion).Do(ctx).Into(&l)
	return &l, err
}

func (c *Client) watchRecords(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	return c.records.Get().Resource(v1alpha1.Resource).SpecificallyVersionedParams(&o, scheme.ParameterCodec, corev1.SchemeGroupVersion).Watch(ctx)
}

// listWithin bounds a list, which may be long.
const listWithin = 30 * time.Second

// unanswered is what client-go makes of a watch that times out before it begins, as
// where packets to the API server are dropped: a watch that has ended, and no error.
var unanswered = reflect.TypeOf(watch.NewEmptyWatch())

// observed notes how each request fares.
func (s *Source) observed(what string, list cache.ListWithContextFunc, watching cache.WatchFuncWithContext) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			within, cancel := context.WithTimeout(ctx, listWithin)
			defer cancel()
			objects, err := list(within, o)
			s.note(ctx, what, err)
			return objects, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := watching(ctx, o)
			if err == nil && reflect.TypeOf(w) == unanswered {
				err = errors.New("no answer in time")
			}
			s.note(ctx, what, err)
			if err != nil && o.SendInitialEvents != nil && (net.IsConnectionRefused(err) || apierrors.IsTooManyRequests(err)) {
				// The reflector of client-go v0.37 would wait, and not for ctx. It can go
				// when watchList there selects on the stop channel as watch does.
				err = errors.New(err.Error())
			}
			return w, err
		},
	}
}
