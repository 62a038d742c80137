package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
	"github.com/wgsteer/wgsteer/wgkey"
)

// probePeers shakes hands with the peers that the source names, without a
// tunnel.
func probePeers(ctx context.Context, config configuration, wait time.Duration) []finding {
	key, err := keymgr.NewStore(config.Plane.StateDir).Load()
	switch {
	case errors.Is(err, keymgr.ErrNoKey):
		return []finding{{"key", levelWarn, "this node has no key yet, so no peer can answer it", []string{"the first start of the daemon makes one"}}}
	case err != nil:
		return []finding{{"key", levelFail, err.Error(), nil}}
	}
	findings := []finding{{"key", levelOK, "public key " + key.Public().String(), nil}}
	source, err := config.sourceToLookAt()
	if err != nil {
		return append(findings, finding{"records", levelFail, err.Error(), nil})
	}
	snapshot, err := firstSnapshot(ctx, source)
	if err != nil {
		return append(findings, finding{"records", levelFail, err.Error(), nil})
	}
	findings = append(findings, checkRecords(snapshot)...)
	peers, names, unreachable := probeTargets(snapshot.Nodes, config.Plane.Node, key.Public())
	for _, name := range unreachable {
		findings = append(findings, judgePeer(name, netip.AddrPort{}, false))
	}
	if len(peers) == 0 {
		if len(unreachable) == 0 {
			findings = append(findings, noPeers())
		}
		return findings
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	wrong, err := userspace.Probe(ctx, key, config.Plane.ListenPort, peers)
	if err != nil {
		return append(findings, finding{"peers", levelFail, err.Error(), nil})
	}
	for i, p := range peers {
		findings = append(findings, judgePeer(names[i], p.Endpoint, wrong[p.PublicKey] == nil))
	}
	return findings
}

// checkRecords repeats what is wrong with node records.
func checkRecords(s keymgr.Snapshot) []finding {
	var findings []finding
	for _, p := range s.Problems {
		l := levelFail
		if p.Warning {
			l = levelWarn
		}
		findings = append(findings, finding{"record", l, p.Record + ": " + p.Message, nil})
	}
	return findings
}

// probeTargets are the nodes to greet: not this one, each key once. The
// unreachable are those without an endpoint.
func probeTargets(nodes []keymgr.Node, self string, own wgkey.PublicKey) (peers []tunnel.Peer, names, unreachable []string) {
	seen := map[wgkey.PublicKey]bool{own: true}
	for _, n := range nodes {
		if n.Name == self || seen[n.PublicKey] {
			continue
		}
		seen[n.PublicKey] = true
		if !n.Endpoint.IsValid() {
			unreachable = append(unreachable, n.Name)
			continue
		}
		peers = append(peers, tunnel.Peer{PublicKey: n.PublicKey, Endpoint: n.Endpoint})
		names = append(names, n.Name)
	}
	return peers, names, unreachable
}

func noPeers() finding {
	return finding{"peers", levelWarn, "no other node has a record yet", []string{"with source.directory, bring the other nodes' records there; in Kubernetes, does wgsteer run on other nodes? kubectl get wireguardnodes"}}
}

// judgePeer is about a peer that answers, or not. Without an endpoint, which a
// record may lack, there is nowhere to send a handshake to.
func judgePeer(name string, endpoint netip.AddrPort, answers bool) finding {
	f := finding{"peer " + name, levelOK, "answers at " + orDash(addrPortText(endpoint)), nil}
	switch {
	case answers:
		return f
	case !endpoint.IsValid():
		f.Level, f.Detail = levelWarn, "has no endpoint; it has to speak first"
		f.Mend = []string{"a persistentKeepalive in its configuration has it do so, and an endpoint in its record makes it reachable from here"}
		return f
	}
	f.Level, f.Detail = levelFail, "no answer from "+endpoint.String()
	f.Mend = append([]string{
		"is its daemon running (wgsteer status there), and does it have this node's record with the present key?",
		"if it is, UDP is blocked on the way; on that host, and on this one, open the port:",
	}, openPort("", endpoint.Port(), endpoint.Addr().Is6() && !endpoint.Addr().Is4In6())...)
	return f
}

// openPort are the commands that let the tunnel's datagrams in: for nft into
// the given chain ("family table chain"; "": a usual one), and for iptables.
func openPort(chain string, port uint16, ipv6 bool) []string {
	if chain == "" {
		chain = "inet filter input"
	}
	hook := "INPUT"
	if strings.HasSuffix(strings.ToLower(chain), "output") {
		hook = "OUTPUT"
	}
	command := "iptables"
	if ipv6 {
		command = "ip6tables"
	}
	return []string{
		fmt.Sprintf("    nft insert rule %s udp dport %d accept", chain, port),
		fmt.Sprintf("    %s -I %s -p udp --dport %d -j ACCEPT", command, hook, port),
	}
}
