package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// soloHost is a host of its own: network, processes and /var/run. All of it ends
// with the test.
type soloHost struct {
	t   *testing.T
	dir string // of the test, seen there too
	pid int    // of its first process
}

func newSoloHost(t *testing.T) *soloHost {
	t.Helper()
	privtest.Root(t)
	nsenter := privtest.Tool(t, "nsenter")
	cmd := exec.Command("/bin/sh", "-ec", `mount --make-rprivate /; mount -t proc proc /proc; mount -t tmpfs none /var/run
ip link set lo up; echo ready; while sleep 1000; do :; done`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s: %q, %v", nsenter, line, err)
	}
	return &soloHost{t: t, dir: t.TempDir(), pid: cmd.Process.Pid}
}

// command is a shell script to be run there.
func (p *soloHost) command(script string, args ...any) *exec.Cmd {
	return exec.Command("nsenter", "--target", strconv.Itoa(p.pid), "--net", "--mount", "--pid", "/bin/sh", "-ec", fmt.Sprintf(script, args...))
}

// sh runs a script there and returns what it printed.
func (p *soloHost) sh(script string, args ...any) string {
	p.t.Helper()
	code, out := p.try(script, args...)
	if code != 0 {
		p.t.Fatalf("%s: exit code %d\n%s", fmt.Sprintf(script, args...), code, out)
	}
	return out
}

// try is sh for what may fail.
func (p *soloHost) try(script string, args ...any) (code int, out string) {
	p.t.Helper()
	b, err := p.command(script, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(b)
}

// write makes a file in the test's directory.
func (p *soloHost) write(name, text string) (path string) {
	p.t.Helper()
	path = filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// tunnels are the processes that run one.
func (p *soloHost) tunnels() []string {
	_, out := p.try("pgrep -x -r D,R,S wgsteer") // no zombies
	return strings.Fields(out)
}

// peers are two places on a wire, 192.0.2.1 and .2, with a tunnel wga and wgb,
// inner addresses 10.9.0.1 and .2.
type peers struct {
	a, b       *soloHost
	keyA, keyB string // public
}

func newPeers(t *testing.T) *peers {
	t.Helper()
	privtest.Tool(t, "wg")
	p := &peers{a: newSoloHost(t), b: newSoloHost(t)}
	t.Log(p.a.sh("wg --version; ip -Version"))
	command(t, "nsenter", "--target", strconv.Itoa(p.a.pid), "--net", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(p.b.pid))
	for i, n := range []*soloHost{p.a, p.b} {
		n.sh("ip address add 192.0.2.%d/24 dev eth0; ip link set eth0 up; umask 077; wg genkey >%s/key", i+1, n.dir)
	}
	p.keyA, p.keyB = p.a.sh("wg pubkey <%s/key", p.a.dir), p.b.sh("wg pubkey <%s/key", p.b.dir)
	p.a.setconf("wga", 51001, p.keyB, "192.0.2.2:51002", "10.9.0.2/32")
	p.b.setconf("wgb", 51002, p.keyA, "192.0.2.1:51001", "10.9.0.1/32")
	p.a.sh("ip address add 10.9.0.1/24 dev wga; ip link set wga up")
	p.b.sh("ip address add 10.9.0.2/24 dev wgb; ip link set wgb up")
	p.b.serveEcho()
	p.echo("")
	return p
}

// setconf makes a tunnel and configures it, by wg(8).
func (p *soloHost) setconf(name string, port int, peer, endpoint, allowed string) {
	p.t.Helper()
	conf := p.write(name+".conf", fmt.Sprintf("[Interface]\nPrivateKey=%sListenPort=%d\n[Peer]\nPublicKey=%sEndpoint=%s\nAllowedIPs=%s\n",
		p.sh("cat %s/key", p.dir), port, peer, endpoint, allowed))
	p.sh("wgsteer tunnel %s; wg setconf %[1]s %s", name, conf)
}

// echo waits for one echo from b to a, where where is a prefix of the command.
func (p *peers) echo(where string) {
	p.a.t.Helper()
	p.a.sh("%s udpecho ask 10.9.0.2:7 1", where)
}

// serveEcho answers every datagram there until the test ends.
func (p *soloHost) serveEcho() {
	p.t.Helper()
	cmd := p.command("exec udpecho serve :7")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		p.t.Fatal(err)
	}
}
