package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// Two drop-ins talk; what wg(8) shows, sets and adds is so.
func TestTunnelTalks(t *testing.T) {
	p := newPeers(t)
	shown := p.a.sh("wg show wga")
	for _, part := range []string{"interface: wga\n", "public key: " + p.keyA, "listening port: 51001\n", "peer: " + p.keyB, "endpoint: 192.0.2.2:51002\n", "allowed ips: 10.9.0.2/32\n", "latest handshake: "} {
		if !strings.Contains(shown, part) {
			t.Errorf("wg show does not print %q:\n%s", part, shown)
		}
	}
	stranger := strings.TrimSpace(p.a.sh("wg genkey | wg pubkey"))
	p.a.sh("wg set wga fwmark 7 peer %s allowed-ips 10.77.0.0/16 persistent-keepalive 25", stranger)
	if dump := p.a.sh("wg show wga dump"); !strings.Contains(dump, "\t0x7\n") || !strings.Contains(dump, stranger+"\t(none)\t(none)\t10.77.0.0/16\t0\t0\t0\t25\n") {
		t.Errorf("wg set did not do it:\n%s", dump)
	}
	p.a.sh("wg set wga fwmark 0 peer %s remove; wg syncconf wga %s/wga.conf", stranger, p.a.dir)
	if dump := p.a.sh("wg show wga dump"); strings.Contains(dump, stranger) {
		t.Errorf("wg set did not remove the peer:\n%s", dump)
	}
	p.echo("")
}

// The port changes under traffic: some is lost, the tunnel goes on.
func TestTunnelChangesPort(t *testing.T) {
	p := newPeers(t)
	const changes = 20
	cmd := p.a.command("exec udpecho ask 10.9.0.2:7 0")
	stop, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range changes {
		port := 52000 + i
		p.a.sh("wg set wga listen-port %d", port)
		if got := p.a.sh("wg show wga listen-port; ss -Hulnp"); !strings.Contains(got, fmt.Sprintf(":%d ", port)) || strings.Contains(got, fmt.Sprintf(":%d ", port-1)) {
			t.Errorf("after the change to %d:\n%s", port, got)
		}
		await(t, "answer to the new port", func() bool { return strings.Contains(p.b.sh("wg show wgb endpoints"), fmt.Sprintf(":%d\n", port)) })
	}
	if err := errors.Join(stop.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	var sent, got int
	if _, err := fmt.Sscan(out.String(), &sent, &got); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	t.Logf("%d changes of the port; %d of %d packets or their answers were lost", changes, sent-got, sent)
	if got < sent/2 {
		t.Errorf("only %d of %d were answered", got, sent)
	}
	p.echo("")
}

// The TUN lives in another network namespace than the UDP sockets.
func TestTunnelMoves(t *testing.T) {
	p := newPeers(t)
	p.a.sh("ip netns add inner; ip link set wga netns inner; ip -n inner address add 10.9.0.1/24 dev wga; ip -n inner link set wga up")
	const inside = "ip netns exec inner"
	p.echo(inside)
	if out := p.a.sh("ss -Hulnp"); !strings.Contains(out, ":51001 ") {
		t.Errorf("the UDP port is not where it was:\n%s", out)
	}
	if out := p.a.sh("ip netns exec inner ss -Hulnp"); out != "" {
		t.Errorf("the UDP port moved along:\n%s", out)
	}
	// It goes on as before: by wg(8), and by ip(8) in there.
	p.a.sh("wg set wga listen-port 51009")
	p.echo(inside)
	p.a.sh("ip -n inner link set wga down")
	await(t, "closed port", func() bool { return p.a.sh("ss -Hulnp") == "" })
	p.a.sh("ip -n inner link set wga up")
	p.echo(inside)
	// Its name stays taken, until it is deleted in there.
	if code, out := p.a.try("wgsteer tunnel wga"); code != exitFailed || !strings.Contains(out, "another process serves it") {
		t.Errorf("exit code %d: %s", code, out)
	}
	p.a.sh("ip -n inner link delete wga; wgsteer tunnel wga")
	await(t, "one tunnel left", func() bool { return len(p.a.tunnels()) == 1 })
}

// The name can be used as soon as the link is deleted, port and all.
func TestTunnelNameAtOnce(t *testing.T) {
	p := newPeers(t)
	for range 5 {
		p.a.sh("ip link delete wga; wgsteer tunnel wga; wg setconf wga %s/wga.conf; ip address add 10.9.0.1/24 dev wga; ip link set wga up", p.a.dir)
		p.echo("")
	}
	p.a.sh("ip link delete wga")
	await(t, "end of all tunnels", func() bool { return len(p.a.tunnels()) == 0 })
	if out := p.a.sh("ls /var/run/wireguard"); out != "" {
		t.Errorf("left over: %s", out)
	}
}

// A name that looks like a flag is one to the process in the background, too.
func TestTunnelNameWithDash(t *testing.T) {
	p := newSoloHost(t)
	p.sh("wgsteer tunnel -- -f")
	if out := p.sh("ls /var/run/wireguard"); out != "-f.sock\n" {
		t.Errorf("sockets: %q", out)
	}
	p.sh("ip link delete dev -f")
	await(t, "end of the tunnel", func() bool { return len(p.tunnels()) == 0 })
}

// 130,560 allowed IPs are what the kernel's own tests set at once.
func TestTunnelManyAllowedIPs(t *testing.T) {
	p := newPeers(t)
	var many strings.Builder
	const want = 2 * 255 * 256
	for i := range want {
		fmt.Fprintf(&many, "AllowedIPs=10.%d.%d.%d/32\n", 16+i>>16, i>>8&255, i&255)
	}
	conf := p.a.write("many.conf", p.a.sh("cat %s/wga.conf", p.a.dir)+many.String())
	before := p.a.memory()
	took := p.a.sh("/usr/bin/env bash -c 'TIMEFORMAT=%%R; time wg setconf wga %s'", conf)
	got := p.a.sh("wg show wga allowed-ips | wc -w")
	t.Logf("wg setconf with %d allowed IPs took %s s; peak of resident memory %d KiB, %d KiB before", want, strings.TrimSpace(took), p.a.memory(), before)
	if strings.TrimSpace(got) != strconv.Itoa(want+2) { // 10.9.0.2/32 and the key
		t.Errorf("%s words of allowed IPs, want %d", got, want+2)
	}
	p.echo("")
	p.a.sh("wg setconf wga %s; wg setconf wga %s/wga.conf", conf, p.a.dir)
	p.echo("")
}

// memory is the peak of the one tunnel's resident memory in KiB.
func (p *soloHost) memory() int {
	p.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(p.sh("awk '/VmHWM/ {print $2}' /proc/$(pgrep -x wgsteer)/status")))
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func TestTunnelForeground(t *testing.T) {
	for how, command := range map[string]string{"flag": "wgsteer tunnel -f wga", "environment": "WG_PROCESS_FOREGROUND=1 wgsteer tunnel wga"} {
		t.Run(how, func(t *testing.T) {
			p := newSoloHost(t)
			cmd := p.command("export LOG_LEVEL=verbose; %s", command)
			var log strings.Builder
			cmd.Stderr = &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			await(t, "tunnel", func() bool { code, _ := p.try("wg show wga"); return code == 0 })
			p.sh("pkill -TERM -x wgsteer")
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, &log)
			}
			if out := p.sh("ip -o link show type tun; ls /var/run/wireguard"); out != "" {
				t.Errorf("left over: %s", out)
			}
			if !strings.Contains(log.String(), `level=DEBUG msg="wireguard: `) {
				t.Errorf("LOG_LEVEL=verbose does not show the engine's messages:\n%s", &log)
			}
		})
	}
}

// What LOG_LEVEL asks for, a process in the background prints where the first
// one did.
func TestTunnelLogsInBackground(t *testing.T) {
	p := newSoloHost(t)
	for level, want := range map[string]bool{"": false, "silent": false, "error": false, "verbose": true, "debug": true} {
		p.sh("LOG_LEVEL=%s wgsteer tunnel wga >%s/log 2>&1; pkill -x wgsteer", level, p.dir)
		await(t, "end", func() bool { return len(p.tunnels()) == 0 })
		if got := p.sh("cat %s/log", p.dir); strings.Contains(got, "level=DEBUG") != want || !want && got != "" {
			t.Errorf("LOG_LEVEL=%s: %q", level, got)
		}
	}
}

// The process in the background fails as if it were the first one.
func TestTunnelRefuses(t *testing.T) {
	p := newSoloHost(t)
	p.sh("wgsteer tunnel wga; ip link add taken type bridge; mkdir -p /var/run/wireguard; echo precious >/var/run/wireguard/file.sock")
	for command, want := range map[string]string{
		"wgsteer tunnel wga":      "a tuntap link of that name exists, of another process perhaps; choose another name or remove it with: ip link delete wga\n",
		"wgsteer tunnel taken":    "a bridge link of that name exists",
		"wgsteer tunnel file":     "the path exists and is no socket; remove it, or choose another interface name\n",
		"wgsteer tunnel -f taken": "a bridge link of that name exists",
		"setpriv --bounding-set=-net_admin --inh-caps=-net_admin wgsteer tunnel wgb":                                                                                         "this process lacks CAP_NET_ADMIN",
		"mount -t tmpfs -o mode=755 none /var/run/wireguard; chown 1:1 /var/run/wireguard; setpriv --bounding-set=-dac_override --inh-caps=-dac_override wgsteer tunnel wgb": "run as root, or let this user write to /var/run/wireguard\n",
		"mount -t tmpfs none /dev/net; wgsteer tunnel wgb":                                                                                                                   "load the driver with: modprobe tun",
	} {
		code, out := p.try("unshare --mount sh -ec '%s'", command)
		if code != exitFailed || strings.Count(out, want) != 1 || !strings.HasPrefix(out, "wgsteer: tunnel ") {
			t.Errorf("%s: exit code %d, want %d and %q once:\n%s", command, code, exitFailed, want, out)
		}
	}
	if n := len(p.tunnels()); n != 1 {
		t.Errorf("%d tunnels run, want 1", n)
	}
	if out := p.sh("cat /var/run/wireguard/file.sock; ls /var/run/wireguard"); out != "precious\nfile.sock\nwga.sock\n" {
		t.Errorf("left over: %q", out)
	}
}

// wg-quick brings a tunnel up and down through the wrapper that the manual
// shows, twice, also as the default route.
func TestWGQuick(t *testing.T) {
	privtest.Tool(t, "wg-quick")
	p := newPeers(t)
	if code, _ := p.a.try("ip link add probe type wireguard"); code == 0 {
		t.Skip("the kernel has WireGuard: wg-quick asks no userspace")
	}
	p.a.sh("ip link delete wga")
	wrapper := p.a.write("wgsteer-tunnel", readExample(t))
	for _, allowed := range []string{"10.9.0.0/24", "0.0.0.0/0"} {
		conf := p.a.write("wgq.conf", fmt.Sprintf("[Interface]\nPrivateKey=%sListenPort=51001\nAddress=10.9.0.1/24\n[Peer]\nPublicKey=%sEndpoint=192.0.2.2:51002\nAllowedIPs=%s\n",
			p.a.sh("cat %s/key", p.a.dir), p.keyB, allowed))
		for range 2 {
			t.Log(p.a.sh("export WG_QUICK_USERSPACE_IMPLEMENTATION=%s; wg-quick up %s", wrapper, conf))
			p.echo("")
			if out := p.a.sh("ip link show wgq; wg show interfaces"); !strings.Contains(out, "mtu 1420") || !strings.HasSuffix(out, "wgq\n") {
				t.Error(out)
			}
			p.a.sh("wg-quick down %s", conf)
			if out := p.a.sh("wg show interfaces; ip -o rule | grep -c . || :; ip -o link | grep wgq || :"); out != "\n3\n" && out != "3\n" {
				t.Errorf("left over:\n%s", out)
			}
		}
	}
	await(t, "end of all tunnels", func() bool { return len(p.a.tunnels()) == 0 })
}

// readExample returns the wrapper in the manual.
func readExample(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/tunnel.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```sh\n#!/bin/sh\n")
	script, _, _ := strings.Cut(rest, "```")
	if !ok || strings.Count(script, "\n") != 1 {
		t.Fatalf("docs/tunnel.md has no wrapper of two lines: %q", script)
	}
	return "#!/bin/sh\n" + script
}
