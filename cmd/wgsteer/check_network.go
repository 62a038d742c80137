package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
	"github.com/wgsteer/wgsteer/wgkey"
)

// checkNetwork looks at the port and the peers, through the daemon if one
// runs.
func checkNetwork(ctx context.Context, config configuration, wait time.Duration) []finding {
	client := newControlClient(config)
	status, err := client.status(ctx)
	if err == nil {
		return append([]finding{checkDaemon(status)}, askDaemon(ctx, client, status, wait)...)
	}
	daemon := finding{"daemon", levelWarn, "none runs for interface " + config.Plane.Interface, []string{"start it with `systemctl start wgsteer` or `wgsteer run --config " + config.File + "`"}}
	if !errors.Is(err, errNoDaemon) {
		daemon = finding{"daemon", levelFail, err.Error(), nil}
	}
	lock, err := takeLock(config)
	if err != nil {
		return []finding{daemon, {"port", levelWarn, err.Error(), nil}}
	}
	// Nothing else is done under this lock; closing a file that was only read
	// loses nothing.
	defer func() { _ = lock.release() }()
	port := checkPort(ctx, config.Plane.ListenPort)
	findings := []finding{daemon, port}
	if port.Level != levelFail {
		findings = append(findings, probePeers(ctx, config, wait)...)
	}
	return findings
}

func checkDaemon(s statusReply) finding {
	f := finding{"daemon", levelOK, fmt.Sprintf("process %d is %s", s.PID, s.State), s.Reasons}
	switch {
	case !s.Ready:
		f.Level = levelFail
	case len(s.Reasons) > 0 || s.Configuration.Error != "":
		f.Level = levelWarn
	}
	if s.Configuration.Error != "" {
		f.Mend = append(slices.Clone(f.Mend), "the last reload was refused: "+s.Configuration.Error)
	}
	for _, p := range s.Problems {
		f.Level = max(f.Level, levelWarn) // "ok" < "warn", and "fail" is set above
		f.Mend = append(slices.Clone(f.Mend), p.Record+": "+p.Message)
	}
	return f
}

func askDaemon(ctx context.Context, client *controlClient, s statusReply, wait time.Duration) []finding {
	port := finding{"port", levelOK, fmt.Sprintf("UDP port %d is the running daemon's", s.ListenPort), nil}
	reply, err := client.greet(ctx, wait)
	if err != nil {
		return []finding{port, {"peers", levelFail, err.Error(), nil}}
	}
	if s, err = client.status(ctx); err != nil { // with the handshakes that there were
		return []finding{port, {"peers", levelFail, err.Error(), nil}}
	}
	findings := []finding{port}
	for _, p := range s.Peers {
		f := judgePeer(p.Name, p.Endpoint, !slices.Contains(reply.Silent, p.Name))
		if f.Level == levelOK {
			// A session that is in use needs no new handshake, which tells more
			// of now; WireGuard's is good for 3 minutes.
			f.Detail += fmt.Sprintf("; last handshake %s ago", age(time.Since(p.LastHandshake)))
		}
		findings = append(findings, f)
	}
	if len(s.Peers) == 0 {
		findings = append(findings, noPeers())
	}
	return findings
}

// checkPort tries to take the port, in both families.
func checkPort(ctx context.Context, port uint16) finding {
	for _, network := range []string{"udp4", "udp6"} {
		conn, err := new(net.ListenConfig).ListenPacket(ctx, network, net.JoinHostPort("", strconv.Itoa(int(port))))
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return finding{"port", levelFail, fmt.Sprintf("UDP port %d is taken by another process", port), []string{
				fmt.Sprintf("see which: ss -ulpn 'sport = :%d'", port),
				"then stop it, or set listenPort to another one",
			}}
		case errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EADDRNOTAVAIL):
			continue // a host without that family
		case err != nil:
			return finding{"port", levelFail, fmt.Sprintf("open UDP port %d: %v", port, err), nil}
		}
		conn.Close() // nothing was sent or received
	}
	return finding{"port", levelOK, fmt.Sprintf("UDP port %d is free", port), nil}
}

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
	snapshot, err := firstSnapshot(ctx, config.source(slog.New(slog.DiscardHandler)))
	if err != nil {
		return append(findings, finding{"records", levelFail, err.Error(), nil})
	}
	findings = append(findings, checkRecords(snapshot)...)
	peers, names := probeTargets(snapshot.Nodes, config.Plane.Node, key.Public())
	if len(peers) == 0 {
		return append(findings, noPeers())
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

// probeTargets are the nodes to greet: not this one, each key once.
func probeTargets(nodes []keymgr.Node, self string, own wgkey.PublicKey) (peers []tunnel.Peer, names []string) {
	seen := map[wgkey.PublicKey]bool{own: true}
	for _, n := range nodes {
		if n.Name == self || seen[n.PublicKey] || !n.Endpoint.IsValid() {
			continue
		}
		seen[n.PublicKey] = true
		peers = append(peers, tunnel.Peer{PublicKey: n.PublicKey, Endpoint: n.Endpoint})
		names = append(names, n.Name)
	}
	return peers, names
}

func noPeers() finding {
	return finding{"peers", levelWarn, "no other node has a record yet", []string{"bring the other nodes' records into the source directory of this one"}}
}

func judgePeer(name string, endpoint netip.AddrPort, answers bool) finding {
	f := finding{"peer " + name, levelOK, "answers at " + orDash(addrPortText(endpoint)), nil}
	if answers {
		return f
	}
	f.Level, f.Detail = levelFail, "no answer from "+orDash(addrPortText(endpoint))
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
