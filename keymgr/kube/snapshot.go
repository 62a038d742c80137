package kube

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	corev1 "k8s.io/api/core/v1"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
	"github.com/wgsteer/wgsteer/wgkey"
)

// nodeFacts are what counts of a Node.
type nodeFacts struct {
	uid       types.UID
	podCIDRs  []string
	addresses []netip.Addr
	taints    []corev1.Taint // of this node alone
}

// recordFacts are what counts of a WireGuardNode.
type recordFacts struct {
	spec  v1alpha1.WireGuardNodeSpec
	keyed uint64 // when it got its key, in the order of the records' changes; 0: before all of them
	// Of this node's own alone:
	owners []metav1.OwnerReference
	status v1alpha1.WireGuardNodeStatus
}

// view is all objects at one moment, by name.
type view struct {
	self    string
	from    PodAddresses
	nodes   map[string]nodeFacts
	records map[string]recordFacts
	pods    map[string]podFacts // where from is FromPods
}

// memory is what the source knows of the records: it makes snapshots out of views,
// and does no IO itself.
type memory struct {
	good  map[string]keymgr.Node // the last good records, without pods
	had   map[netip.Addr]string  // whose pod has an address; with FromPods
	local *keymgr.Local          // nil: this node's Node was never there
}

// snapshot is that of v. A record without a Node is nothing, and one that turned bad
// is kept as it last was.
func (m *memory) snapshot(v view) keymgr.Snapshot {
	where, problems := locate(v, m.had)
	m.had = where.single()
	s := keymgr.Snapshot{Problems: problems}
	good := make(map[string]keymgr.Node, len(v.records))
	keys := firstKeys(v)
	for _, name := range slices.Sorted(maps.Keys(v.records)) {
		if _, there := v.nodes[name]; !there {
			continue
		}
		n, wrong := parse(name, v.records[name].spec)
		wrong = append(wrong, where.contradicts(n)...)
		if first, known := keys[n.PublicKey]; known && first.keyed < v.records[name].keyed {
			wrong = append(wrong, fmt.Sprintf("spec.publicKeys: %s is the key of node %s, whose record had it first; put the node's own", n.PublicKey, first.name))
		}
		if len(wrong) > 0 {
			past, known := m.good[name]
			known = known && len(where.contradicts(past)) == 0
			s.Problems = append(s.Problems, refusals(name, wrong, known)...)
			if !known {
				s.Unusable = append(s.Unusable, name)
				continue
			}
			n = past
		}
		good[name] = n.Clone()
		var odd []keymgr.Problem
		n.NodeIPs, odd = where.own(n)
		for _, p := range odd {
			if !p.Warning || name == v.self { // of a cluster where many have such, each tells its own
				s.Problems = append(s.Problems, p)
			}
		}
		n.PodCIDRs = where.pods[name]
		s.Nodes = append(s.Nodes, n)
	}
	m.good = good
	s.Local = m.self(v, where)
	s.Problems = append(s.Problems, missing(v, where)...)
	slices.SortStableFunc(s.Problems, func(a, b keymgr.Problem) int { return cmp.Compare(a.Record, b.Record) })
	return s
}

// keyed is a record with a key, and when it got it.
type keyed struct {
	name  string
	keyed uint64
}

// firstKeys says whose record had each key first. Who copies another's key would
// otherwise keep the other out: nobody knew that one's key before. Of those that were
// there from the start none is the first; keymgr.Resolve decides.
func firstKeys(v view) map[wgkey.PublicKey]keyed {
	first := make(map[wgkey.PublicKey]keyed, len(v.records))
	for _, name := range slices.Sorted(maps.Keys(v.records)) {
		r := v.records[name]
		key, err := activeKey(r.spec.PublicKeys)
		if _, there := v.nodes[name]; err != nil || !there {
			continue
		}
		if f, known := first[key]; !known || r.keyed < f.keyed {
			first[key] = keyed{name, r.keyed}
		}
	}
	return first
}

func refusals(name string, wrong []string, known bool) []keymgr.Problem {
	var problems []keymgr.Problem
	for _, w := range wrong {
		p := keymgr.Problem{Node: name, Record: recordName(name), Message: w}
		if known {
			p.Message += " (the record stays in use as it was before)"
		}
		problems = append(problems, p)
	}
	return problems
}

// self is what is known of this node. While its Node is gone that is what it was.
func (m *memory) self(v view, where places) *keymgr.Local {
	if _, there := v.nodes[v.self]; there {
		m.local = &keymgr.Local{PodCIDRs: slices.Clone(where.pods[v.self])}
	}
	if m.local == nil {
		return nil
	}
	return &keymgr.Local{PodCIDRs: slices.Clone(m.local.PodCIDRs)}
}

// missing tells what this node lacks to have pods.
func missing(v view, where places) []keymgr.Problem {
	p := keymgr.Problem{Node: v.self, Record: "nodes/" + v.self}
	if _, there := v.nodes[v.self]; !there {
		p.Message = fmt.Sprintf("the cluster has no Node %s, so this node's record is not written; if the node is called otherwise, set NODE_NAME, or node in the configuration, to its name", keymgr.Quote(v.self))
		return []keymgr.Problem{p}
	}
	if v.from == FromNodes && len(where.pods[v.self]) == 0 {
		p.Warning = true
		p.Message = "spec.podCIDRs: the Node has none; if the cluster's network does not use them, set podAddresses to pods"
		return []keymgr.Problem{p}
	}
	return nil
}

// places say whose addresses and pods the cluster itself says they are.
type places struct {
	nodes   map[netip.Addr][]string   // whose Node has the address
	pods    map[string][]netip.Prefix // by node
	owners  map[netip.Prefix]string   // of pods
	lengths [129]bool                 // of the prefixes in owners
}

func locate(v view, had map[netip.Addr]string) (places, []keymgr.Problem) {
	w := places{nodes: make(map[netip.Addr][]string), owners: make(map[netip.Prefix]string)}
	var problems []keymgr.Problem
	for name, n := range v.nodes {
		for _, ip := range n.addresses {
			w.nodes[ip] = append(w.nodes[ip], name)
		}
	}
	if v.from == FromPods {
		w.pods, problems = prefixesOfPods(v.pods, had)
	} else {
		w.pods = make(map[string][]netip.Prefix, len(v.nodes))
		for name, n := range v.nodes {
			prefixes, wrong := prefixesOfNode(name, n.podCIDRs)
			w.pods[name] = prefixes
			problems = append(problems, wrong...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.pods)) {
		for _, p := range w.pods[name] {
			w.owners[p] = name
			w.lengths[p.Bits()] = true
		}
	}
	slices.SortFunc(problems, func(a, b keymgr.Problem) int {
		return cmp.Or(cmp.Compare(a.Record, b.Record), cmp.Compare(a.Message, b.Message))
	})
	return w, problems
}

// single are the prefixes of one address, as Pods have them.
func (w places) single() map[netip.Addr]string {
	owners := make(map[netip.Addr]string)
	for p, node := range w.owners {
		if p.IsSingleIP() {
			owners[p.Addr()] = node
		}
	}
	return owners
}

// podsAt is the node whose pods' prefix holds ip, and the prefix.
func (w places) podsAt(ip netip.Addr) (string, netip.Prefix, bool) {
	for bits := ip.BitLen(); bits >= 0 && ip.IsValid(); bits-- {
		if !w.lengths[bits] {
			continue
		}
		p, _ := ip.Prefix(bits)
		if node, ok := w.owners[p]; ok {
			return node, p, true
		}
	}
	return "", netip.Prefix{}, false
}

// own are the addresses of a record that the cluster itself says are the node's:
// what else a record names would have every node's pods send there through the
// node, be it a server of the outside world. What the Node of another has as well is
// left to keymgr.Resolve. A record with such an address is used without it: refused, it
// would stay as it was before, perhaps with the address, and then be in the way of the
// node that the address is of.
func (w places) own(n keymgr.Node) (ips []netip.Addr, problems []keymgr.Problem) {
	for i, ip := range n.NodeIPs {
		owners := w.nodes[ip]
		node, p, pods := w.podsAt(ip)
		if slices.Contains(owners, n.Name) || pods && node == n.Name { // as on the pods' own bridge
			ips = append(ips, ip)
			continue
		}
		whose := fmt.Sprintf("no address of Node %s; give it status.addresses (kubelet's --node-ip), or name others in nodeIPs there", n.Name)
		switch {
		case len(owners) > 0:
			whose = fmt.Sprintf("an address of Node %s; put the node's own address", slices.Min(owners))
		case pods:
			whose = fmt.Sprintf("within %s, pods of Node %s; put the node's own address", p, node)
		}
		problems = append(problems, keymgr.Problem{
			Node: n.Name, Record: recordName(n.Name), Warning: len(owners) == 0 && !pods,
			Message: fmt.Sprintf("spec.nodeIPs[%d]: %s is %s (the address is not used)", i, ip, whose),
		})
	}
	return ips, problems
}

// contradicts says what of a record the cluster knows better, so that it cannot be
// used. What the node's own Node has as well is left to keymgr.Resolve.
func (w places) contradicts(n keymgr.Node) []string {
	ip := n.Endpoint.Addr()
	if node, p, ok := w.podsAt(ip); ok && !slices.Contains(w.nodes[ip], n.Name) {
		return []string{fmt.Sprintf("spec.endpoints[0]: %s is within %s, pods of Node %s; the tunnel's own packets would be sent into it", n.Endpoint, p, node)}
	}
	return nil
}
