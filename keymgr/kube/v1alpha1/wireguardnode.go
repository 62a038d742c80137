package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// WireGuardNode is the record of one node. It has the name of its Node, which owns
// it: it goes when the Node goes. Which pods are on the node it does not say: a node
// could claim those of others; readers take them from the Node or from the Pods.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=wgn
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Guarded",type=string,JSONPath=`.status.conditions[?(@.type=="Guarded")].status`
// +kubebuilder:printcolumn:name="Peers",type=string,JSONPath=`.status.conditions[?(@.type=="PeersReachable")].status`
// +kubebuilder:printcolumn:name="Backend",type=string,JSONPath=`.status.backend`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.spec.endpoints[0]`
// +kubebuilder:printcolumn:name="MTU",type=integer,JSONPath=`.status.tunnelMTU`
// +kubebuilder:printcolumn:name="Public key",type=string,JSONPath=`.spec.publicKeys[?(@.state=="Active")].key`,priority=1
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type WireGuardNode struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec WireGuardNodeSpec `json:"spec"`
	// +optional
	Status WireGuardNodeStatus `json:"status,omitzero"`
}

// WireGuardNodeSpec is what the node's wgsteer says of it.
type WireGuardNodeSpec struct {
	// The node's public keys: the one in use, and, while a rotation is prepared,
	// the one that comes next.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=state
	// +kubebuilder:validation:XValidation:rule="self.exists_one(k, k.state == 'Active')",message="exactly one key has the state Active"
	PublicKeys []PublicKey `json:"publicKeys"`

	// Where the node's tunnel listens, the best first; none where the node can only
	// be heard from.
	// +optional
	// +kubebuilder:validation:MaxItems=4
	// +listType=atomic
	Endpoints []Endpoint `json:"endpoints,omitempty"`

	// The node's own addresses: what pods exchange with them goes through the tunnel.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	NodeIPs []NodeIP `json:"nodeIPs,omitempty"`

	// The interval, in whole seconds such as 25s, of the keepalives that the node asks
	// its peers for; without it each peer's own configuration counts.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^([0-9]+(h|m|s))+$`
	PersistentKeepalive string `json:"persistentKeepalive,omitempty"`
}

// PublicKey is one of a node's keys.
type PublicKey struct {
	// A WireGuard public key in base64.
	// +kubebuilder:validation:MaxLength=44
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$`
	Key string `json:"key"`
	// Active is in use, Next is not yet.
	State KeyState `json:"state"`
}

// KeyState says what a key is for.
//
// +kubebuilder:validation:Enum=Active;Next
type KeyState string

// The states of a key.
const (
	KeyActive KeyState = "Active" // peers use it
	KeyNext   KeyState = "Next"   // will be Active; peers do not use it
)

// Endpoint is an IP address and a UDP port: 192.0.2.1:51871, [2001:db8::1]:51871.
//
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:Pattern=`^([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$`
type Endpoint string

// NodeIP is an IPv4 or IPv6 address.
//
// +kubebuilder:validation:MaxLength=45
// +kubebuilder:validation:XValidation:rule="isIP(self)",message="an IP address is needed, such as 192.0.2.1 or 2001:db8::1"
type NodeIP string

// WireGuardNodeStatus is how the node fares, for people and their tools. Of
// others' wgsteer shows the backend, and decides nothing by it.
type WireGuardNodeStatus struct {
	// What runs the tunnel: userspace or kernel.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Backend string `json:"backend,omitempty"`
	// Why that was chosen.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	BackendReason string `json:"backendReason,omitempty"`
	// MTU of the tunnel device, in bytes.
	// +optional
	TunnelMTU int32 `json:"tunnelMTU,omitempty"`
	// The version of wgsteer.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`
	// Ready: pods here and those of other nodes can talk. Guarded: what must not leave
	// or enter in plaintext is dropped. PeersReachable: all peers have answered.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// What this node finds wrong with records, its own and others': the first 16.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	Problems []Problem `json:"problems,omitempty"`
}

// The types of WireGuardNodeStatus.Conditions.
const (
	ConditionReady          = "Ready"
	ConditionGuarded        = "Guarded"
	ConditionPeersReachable = "PeersReachable"
)

// The bounds of WireGuardNodeStatus.Problems.
const (
	MaxProblems       = 16
	MaxProblemMessage = 1024 // bytes
)

// Problem is something wrong with a record, or between two.
type Problem struct {
	// The node concerned; empty where it is not known.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Node string `json:"node,omitempty"`
	// What it is and what to do.
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
	// The record is used all the same.
	// +optional
	Warning bool `json:"warning,omitempty"`
}

// WireGuardNodeList is a list of them.
//
// +kubebuilder:object:root=true
type WireGuardNodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []WireGuardNode `json:"items"`
}
