package dataplane

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// view is what the reconciler last said of itself; immutable once stored.
type view struct {
	state         State
	since         time.Time
	config        Config
	key           wgkey.PublicKey
	self          keymgr.Node
	mtu           int
	backend       Backend // empty before it is chosen
	backendReason string
	mtuFrom       MTUSource
	nodes         []keymgr.Node // the programmed peers, by name
	problems      []keymgr.Problem
	outside       []string          // other nodes with pods outside of clusterCIDRs
	failing       map[string]string // part -> what fails and how to mend it
	tunnel        tunnel.Tunnel     // nil while there is none
	steering      *steering.Steering
}

// Status is safe to call at any time; it reads the counters of tunnel and
// programs, so it costs some system calls.
func (d *DataPlane) Status() Status {
	v := d.view.Load()
	s := Status{
		State:         v.state,
		Since:         v.since,
		Node:          v.config.Node,
		Interface:     v.config.Interface,
		PublicKey:     v.key,
		ListenPort:    v.config.ListenPort,
		Endpoint:      v.self.Endpoint,
		MTU:           v.mtu,
		MTUSource:     v.mtuFrom,
		Policy:        v.config.Policy,
		Backend:       cmp.Or(v.backend, v.config.Backend),
		BackendReason: v.backendReason,
		PodCIDRs:      v.self.PodCIDRs,
		NodeIPs:       v.self.NodeIPs,
		PodsOutside:   v.outside,
		Problems:      v.problems,
	}
	if v.self.Name == "" { // before Run has looked
		s.PodCIDRs = v.config.PodCIDRs
	}
	failing := maps.Clone(v.failing)
	if failing == nil {
		failing = map[string]string{}
	}
	if v.tunnel != nil {
		stats, err := v.tunnel.Stats()
		if why := failure(stats.Failing, err); why != "" {
			failing["tunnel"] = cmp.Or(failing["tunnel"], why)
		}
		s.Tunnel = stats
		if stats.Note != "" {
			s.Problems = append(slices.Clone(s.Problems), keymgr.Problem{Node: s.Node, Record: s.Interface, Message: stats.Note, Warning: true})
		}
	}
	if v.steering != nil {
		s.Steering = v.steering.Status()
		if why := s.Steering.Failing; why != "" {
			failing["steering"] = cmp.Or(failing["steering"], why)
		}
	}
	s.Peers = peers(v.nodes, s.Tunnel.Peers, s.Steering.Peers)
	judge(&s, failing)
	return s
}

func failure(why string, err error) string {
	if why == "" && err != nil {
		return err.Error()
	}
	return why
}

// judge derives readiness and its reasons.
func judge(s *Status, failing map[string]string) {
	s.Ready = s.State == Ready
	if s.Ready && len(failing) > 0 {
		s.State = Degraded
	}
	if !s.Ready {
		s.Reasons = append(s.Reasons, waitingFor[s.State])
	}
	for _, part := range slices.Sorted(maps.Keys(failing)) {
		s.Reasons = append(s.Reasons, part+": "+failing[part])
	}
}

var waitingFor = map[State]string{
	Stopped:    "the data plane does not run",
	Checking:   "reading the key, the claims and the host's network",
	Guarding:   "putting the guard in place",
	Tunnelling: "waiting for the tunnel device",
	Steering:   "waiting for the first snapshot of node records",
}

// peers joins what three parts know of each peer. nodes are sorted by name.
func peers(nodes []keymgr.Node, stats []tunnel.PeerStats, counts []steering.PeerCounts) []Peer {
	byKey := map[wgkey.PublicKey]tunnel.PeerStats{}
	for _, p := range stats {
		byKey[p.PublicKey] = p
	}
	byName := map[string]steering.PeerCounts{}
	for _, c := range counts {
		byName[c.Name] = c
	}
	out := make([]Peer, len(nodes))
	for i, n := range nodes {
		t := byKey[n.PublicKey]
		out[i] = Peer{
			Name: n.Name, PublicKey: n.PublicKey, Endpoint: t.Endpoint,
			PodCIDRs: n.PodCIDRs, NodeIPs: n.NodeIPs, Backend: n.Backend, BackendReason: n.BackendReason,
			LastHandshake: t.LastHandshake, RxBytes: t.RxBytes, TxBytes: t.TxBytes,
			Steered: byName[n.Name],
		}
		if !t.Endpoint.IsValid() {
			out[i].Endpoint = n.Endpoint
		}
	}
	return out
}
