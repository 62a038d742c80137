package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
	"github.com/wgsteer/wgsteer/wgkey"
)

// The bounds of a record's lists, which its definition has too: an API server
// without that definition's checks has none.
const (
	maxEndpoints = 4
	maxNodeIPs   = 16
)

// parse reads a record, without pods. All that is wrong with it is in wrong, and
// then the node counts for nothing.
func parse(name string, spec v1alpha1.WireGuardNodeSpec) (n keymgr.Node, wrong []string) {
	fail := func(field string, err error) { wrong = append(wrong, fmt.Sprintf("%s: %v", field, err)) }
	n = keymgr.Node{Name: name, Record: recordName(name)}
	if err := keymgr.CheckName(name); err != nil {
		fail("metadata.name", err)
	}
	var err error
	if n.PublicKey, err = activeKey(spec.PublicKeys); err != nil {
		fail("spec.publicKeys", err)
	}
	if len(spec.Endpoints) > maxEndpoints {
		fail("spec.endpoints", fmt.Errorf("has %d entries; %d are the most", len(spec.Endpoints), maxEndpoints))
	} else if len(spec.Endpoints) > 0 {
		if n.Endpoint, err = keymgr.ParseEndpoint(string(spec.Endpoints[0])); err != nil {
			fail("spec.endpoints[0]", err)
		}
	}
	if len(spec.NodeIPs) > maxNodeIPs {
		fail("spec.nodeIPs", fmt.Errorf("has %d entries; %d are the most", len(spec.NodeIPs), maxNodeIPs))
		return n, wrong
	}
	for i, s := range spec.NodeIPs {
		ip, err := keymgr.ParseNodeIP(string(s))
		switch {
		case err != nil:
			fail(fmt.Sprintf("spec.nodeIPs[%d]", i), err)
		case slices.Contains(n.NodeIPs, ip):
			fail(fmt.Sprintf("spec.nodeIPs[%d]", i), fmt.Errorf("%s occurs twice", keymgr.Quote(string(s))))
		default:
			n.NodeIPs = append(n.NodeIPs, ip)
		}
	}
	if spec.PersistentKeepalive != "" {
		if n.PersistentKeepalive, err = keymgr.ParseKeepalive(spec.PersistentKeepalive); err != nil {
			fail("spec.persistentKeepalive", err)
		}
	}
	return n, wrong
}

// recordName is how problems call a record.
func recordName(node string) string { return v1alpha1.Resource + "/" + node }

func activeKey(keys []v1alpha1.PublicKey) (wgkey.PublicKey, error) {
	var active []string
	for _, k := range keys {
		if k.State == v1alpha1.KeyActive {
			active = append(active, k.Key)
		}
	}
	if len(active) != 1 {
		return wgkey.PublicKey{}, fmt.Errorf("%d keys have the state %s; exactly one has to", len(active), v1alpha1.KeyActive)
	}
	return keymgr.ParsePublicKey(active[0])
}

// specOf is the record of n.
func specOf(n keymgr.Node) v1alpha1.WireGuardNodeSpec {
	spec := v1alpha1.WireGuardNodeSpec{PublicKeys: []v1alpha1.PublicKey{{Key: n.PublicKey.String(), State: v1alpha1.KeyActive}}}
	if n.Endpoint.IsValid() {
		spec.Endpoints = []v1alpha1.Endpoint{v1alpha1.Endpoint(n.Endpoint.String())}
	}
	for _, ip := range n.NodeIPs {
		spec.NodeIPs = append(spec.NodeIPs, v1alpha1.NodeIP(ip.String()))
	}
	if n.PersistentKeepalive != 0 {
		spec.PersistentKeepalive = n.PersistentKeepalive.String()
	}
	return spec
}

// readable returns an error if no node could read the record of n back.
func readable(n keymgr.Node) error {
	back, wrong := parse(n.Name, specOf(n))
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	if !back.Equal(told(n)) {
		return fmt.Errorf("the record would read as %+v, not as %+v", back, told(n))
	}
	return nil
}

// told is what of n a record tells.
func told(n keymgr.Node) keymgr.Node {
	return keymgr.Node{Name: n.Name, PublicKey: n.PublicKey, Endpoint: n.Endpoint, NodeIPs: n.NodeIPs, PersistentKeepalive: n.PersistentKeepalive}
}

// application is what server-side apply is given of a record. Lists are in it when
// they are empty too, so that they become so.
type application struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name            string                  `json:"name"`
		OwnerReferences []metav1.OwnerReference `json:"ownerReferences,omitempty"`
	} `json:"metadata"`
	Spec   *applied                      `json:"spec,omitempty"`
	Status *v1alpha1.WireGuardNodeStatus `json:"status,omitempty"`
}

type applied struct {
	PublicKeys          []v1alpha1.PublicKey `json:"publicKeys"`
	Endpoints           []v1alpha1.Endpoint  `json:"endpoints"`
	NodeIPs             []v1alpha1.NodeIP    `json:"nodeIPs"`
	PersistentKeepalive string               `json:"persistentKeepalive,omitempty"`
}

func newApplication(name string) application {
	a := application{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind}
	a.Metadata.Name = name
	return a
}

// applicationOf is the record of n, owned by its Node. there is the keepalive that
// the record has now: one that somebody else wrote goes only by another value.
func applicationOf(n keymgr.Node, uid types.UID, there string) application {
	spec := specOf(n)
	if spec.PersistentKeepalive == "" && there != "" {
		spec.PersistentKeepalive = "0s"
	}
	a := newApplication(n.Name)
	a.Metadata.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: uid}}
	a.Spec = &applied{
		PublicKeys: spec.PublicKeys, Endpoints: append([]v1alpha1.Endpoint{}, spec.Endpoints...),
		NodeIPs: append([]v1alpha1.NodeIP{}, spec.NodeIPs...), PersistentKeepalive: spec.PersistentKeepalive,
	}
	return a
}

// says reports whether a record tells of n, and belongs to the Node.
func (r recordFacts) says(n keymgr.Node, uid types.UID) bool {
	there, wrong := parse(n.Name, r.spec)
	return len(wrong) == 0 && there.Equal(told(n)) && len(r.spec.Endpoints) <= 1 && len(r.owners) == 1 &&
		r.owners[0] == metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: uid}
}
