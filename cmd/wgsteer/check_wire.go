package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/wire"
)

// wireReport is what `check --wire` prints.
type wireReport struct {
	// OK: the capture saw all there was, and no plaintext among it.
	OK       bool     `json:"ok"`
	Failures []string `json:"failures,omitempty"` // why it is not
	Warnings []string `json:"warnings,omitempty"`

	Node    string           `json:"node"`
	Policy  dataplane.Policy `json:"policy"`
	Seconds float64          `json:"seconds"`
	Devices []wireDevice     `json:"devices"`

	WireGuard wire.Count `json:"wireguard"`
	Plaintext wire.Count `json:"plaintext"`
	Malformed wire.Count `json:"malformed"` // claim to be IP, and may be anything
	Other     wire.Count `json:"other"`
	Lost      uint64     `json:"lost"` // frames that the capture had no room for

	// Pairs are those of Plaintext, at most wire.MaxPairs.
	Pairs []wirePair `json:"plaintextPairs"`
	Peers []wirePeer `json:"peers"`
	// GreetError says why the daemon did not greet its peers.
	GreetError string `json:"greetError,omitempty"`
}

// wireDevice is an uplink, and whether the capture sees what it sends.
type wireDevice struct {
	Name       string `json:"name"`
	Reason     string `json:"reason"` // why it is an uplink
	Steered    bool   `json:"steered"`
	ProbesSent int    `json:"probesSent"`
	ProbesSeen int    `json:"probesSeen"`
	Error      string `json:"error,omitempty"` // why probes were not sent
}

// wirePair is plaintext of pods between two addresses.
type wirePair struct {
	From      netip.Addr `json:"from"`
	To        netip.Addr `json:"to"`
	Device    string     `json:"device"`
	Direction string     `json:"direction"` // "out" or "in"
	Class     string     `json:"class"`     // "plaintext-pod", "plaintext-pod-node"
	Example   string     `json:"example"`
	wire.Count
}

// wirePeer is what was exchanged with one peer's tunnel.
type wirePeer struct {
	Name     string         `json:"name"`
	Endpoint netip.AddrPort `json:"endpoint"`
	Silent   bool           `json:"silent"` // it did not answer the daemon's greeting
	// DaemonSent is how many bytes the daemon says it sent to it meanwhile.
	DaemonSent uint64     `json:"daemonSentBytes"`
	Sent       wire.Count `json:"sent"`
	Received   wire.Count `json:"received"`
	// Handshakes begun by either side, and those without an answer.
	Handshakes           uint64 `json:"handshakes"`
	Unanswered           uint64 `json:"unanswered"`
	HandshakesByPeer     uint64 `json:"handshakesByPeer"`
	UnansweredByThisNode uint64 `json:"unansweredByThisNode"`
}

// wireCluster is whose addresses are whose: as the daemon knows it, and as the
// configuration, or what was found of the cluster, says of all pods.
func wireCluster(s statusReply, config dataplane.Config) wire.Cluster {
	inside := config.EncapsulationPorts
	pods := config.ClusterCIDRs
	if found := s.Source.Cluster; found != nil && len(pods) == 0 {
		pods = found.CIDRs
	}
	c := wire.Cluster{Pods: pods, NodeCIDRs: config.NodeCIDRs, Ports: []uint16{s.ListenPort}, VXLAN: inside.VXLAN, Geneve: inside.Geneve}
	add := func(ips []netip.Addr, cidrs []netip.Prefix, endpoint netip.AddrPort) {
		n := wire.Node{IPs: slices.Clone(ips), PodCIDRs: cidrs}
		if endpoint.IsValid() {
			n.IPs = append(n.IPs, endpoint.Addr())
			c.Ports = append(c.Ports, endpoint.Port())
		}
		c.Nodes = append(c.Nodes, n)
	}
	add(s.NodeIPs, s.PodCIDRs, s.Endpoint)
	for _, p := range s.Peers {
		add(p.NodeIPs, p.PodCIDRs, p.Endpoint)
	}
	return c
}

// take puts a capture's sum in the report's terms; names are the devices', by
// index.
func (r *wireReport) take(sum wire.Sum, names map[int]string, peers []dataplane.Peer, silent []string) {
	r.WireGuard, r.Plaintext, r.Malformed, r.Other = sum.WireGuard, sum.Plaintext, sum.Malformed, sum.Other
	r.Pairs, r.Peers = []wirePair{}, []wirePeer{} // [] rather than null
	for _, p := range sum.Pairs {
		pair := wirePair{From: p.From, To: p.To, Device: names[p.Device], Direction: "in", Class: p.Class.String(), Example: p.Text, Count: p.Count}
		if p.Outgoing {
			pair.Direction = "out"
		}
		r.Pairs = append(r.Pairs, pair)
	}
	for _, p := range peers {
		seen := wirePeer{Name: p.Name, Endpoint: p.Endpoint, Silent: slices.Contains(silent, p.Name)}
		for _, remote := range sum.Remotes {
			if remote.Addr == p.Endpoint {
				seen.Sent, seen.Received = remote.Sent, remote.Received
				seen.Handshakes, seen.Unanswered = remote.Initiated, remote.Unanswered
				seen.HandshakesByPeer, seen.UnansweredByThisNode = remote.InitiatedByIt, remote.UnansweredByUs
			}
		}
		r.Peers = append(r.Peers, seen)
	}
}

// compare takes from two statuses what the daemon sent between them.
func (r *wireReport) compare(before, after []dataplane.Peer) {
	sent := map[string]uint64{}
	for _, p := range before {
		sent[p.Name] = p.TxBytes
	}
	for _, p := range after {
		for i := range r.Peers {
			if r.Peers[i].Name == p.Name && p.TxBytes > sent[p.Name] {
				r.Peers[i].DaemonSent = p.TxBytes - sent[p.Name]
			}
		}
	}
}

// judge fills OK, Failures and Warnings.
func (r *wireReport) judge() {
	fail := func(format string, args ...any) { r.Failures = append(r.Failures, fmt.Sprintf(format, args...)) }
	warn := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	if n := r.Plaintext.Frames; n > 0 {
		fail("%s of pods could be read on the wire", count(n, "packet"))
	}
	if len(r.Devices) == 0 {
		fail("the capture was blind: no device leads to other nodes; see `wgsteer check`")
	}
	for _, d := range r.Devices {
		switch {
		case d.Error != "":
			fail("the capture was blind on %s: %s", d.Name, d.Error)
		case d.ProbesSeen < d.ProbesSent:
			fail("the capture was blind on %s: it saw %d of its own %d probes leave; is the device down, or does another program take them?", d.Name, d.ProbesSeen, d.ProbesSent)
		}
		if !d.Steered {
			warn("%s (%s) is not steered: what pods send there is not encrypted; name it in devices, or name none", d.Name, d.Reason)
		}
	}
	if r.Lost > 0 {
		fail("the capture lost %s, and may have missed plaintext; try fewer --seconds, or when there is less traffic", count(r.Lost, "packet"))
	}
	if r.Malformed.Frames > 0 {
		warn("%s could not be parsed, and may be anything", count(r.Malformed.Frames, "packet"))
	}
	if r.GreetError != "" {
		warn("the daemon did not greet its peers: %s", r.GreetError)
	}
	for _, p := range r.Peers {
		switch {
		case !p.Endpoint.IsValid():
			continue
		case p.Sent.Frames == 0 && p.DaemonSent > 0:
			fail("the capture was blind to peer %s: the daemon sent it %d bytes, of which none was seen to leave to %s; another device leads there", p.Name, p.DaemonSent, p.Endpoint)
		case p.Sent.Frames == 0 && !p.Silent:
			warn("nothing was sent to peer %s meanwhile, so this proves nothing of it; watch for more --seconds", p.Name)
		case p.Sent.Frames == 0:
			warn("nothing was sent to peer %s; is there a route to its endpoint %s?", p.Name, p.Endpoint)
		case p.Silent || p.Unanswered > 0:
			warn("peer %s at %s left %d of %s unanswered; see `wgsteer check`", p.Name, p.Endpoint, p.Unanswered, count(p.Handshakes, "handshake"))
		}
		if p.UnansweredByThisNode > 0 {
			warn("this node left %d of %s of peer %s unanswered; is its key in the records, and is UDP let in?", p.UnansweredByThisNode, count(p.HandshakesByPeer, "handshake"), p.Name)
		}
	}
	r.OK = len(r.Failures) == 0
}
