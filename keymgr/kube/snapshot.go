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
	spec v1alpha1.WireGuardNodeSpec
	// What its status tells of the tunnel, for people.
	backend, backendReason string

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
		r := v.records[name]
		n, wrong := parse(name, r.spec)
		n.Backend, n.BackendReason = r.backend, r.backendReason
		wrong = append(wrong, where.contradicts(n)...)
		if first, known := keys[n.PublicKey]; known && first.keyed < r.keyed {
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
