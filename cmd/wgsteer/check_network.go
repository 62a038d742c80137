package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/wgsteer/wgsteer/tunnel/kernel"
)

// checkNetwork looks at the port and the peers, through the daemon if one
// runs. The port that it returns is the daemon's: the file's may be newer.
func checkNetwork(ctx context.Context, config configuration, wait time.Duration) (findings []finding, port uint16) {
	client := newControlClient(config)
	status, err := client.status(ctx)
	if err == nil {
		return append([]finding{checkDaemon(status)}, askDaemon(ctx, client, status, wait)...), cmp.Or(status.ListenPort, config.Plane.ListenPort)
	}
	return withoutDaemon(ctx, config, wait, err), config.Plane.ListenPort
}

// withoutDaemon is checkNetwork where none answers; err says why.
func withoutDaemon(ctx context.Context, config configuration, wait time.Duration, err error) []finding {
	daemon := finding{"daemon", levelWarn, "none runs for interface " + config.Plane.Interface, []string{"start it with `systemctl start wgsteer` or `wgsteer run --config " + config.File + "`"}}
	if !errors.Is(err, errNoDaemon) {
		daemon = finding{"daemon", levelFail, err.Error(), nil}
	}
	// The lock is not kept: a daemon that starts meanwhile shall not fail for it.
	if err := lookAtLock(config); err != nil {
		return []finding{daemon, {"port", levelWarn, err.Error(), nil}}
	}
	if link, up, err := kernel.Find(config.Plane.Interface); err == nil && up {
		return []finding{daemon, {"port", levelOK, "the kernel's tunnel " + link.Name + " goes on without a daemon, and has its UDP port", nil}}
	}
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
		if f.Level == levelOK {
			f.Level = levelWarn
		}
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
