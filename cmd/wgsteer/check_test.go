package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr"
)

// checkOf runs check and returns its exit code and the findings of a name.
func (d *node) checkOf(args ...string) (int, map[string]finding) {
	d.t.Helper()
	code, out, errs := d.do(append([]string{"check", "-o", "json"}, args...)...)
	var c checked
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		d.t.Fatalf("check: %v\n%s%s", err, out, errs)
	}
	found := map[string]finding{}
	for _, f := range c.Findings {
		found[f.Name] = f
	}
	return code, found
}

func expect(t *testing.T, found map[string]finding, name string, level level, detail string, mend ...string) {
	t.Helper()
	f, ok := found[name]
	if !ok || f.Level != level || !strings.Contains(f.Detail, detail) {
		t.Errorf("%s is %+v, want %s and %q", name, f, level, detail)
	}
	for _, m := range mend {
		if !slices.ContainsFunc(f.Mend, func(l string) bool { return strings.Contains(l, m) }) {
			t.Errorf("%s: no %q in %q", name, m, f.Mend)
		}
	}
}

// Two nodes in one network namespace, of which the first one's daemon does not
// run while its check does.
func TestCheck(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	dir, bpffs := t.TempDir(), privtest.BPFFS(t)
	a, b := newNode(t, dir, bpffs, 1), newNode(t, dir, bpffs, 2)

	_, found := a.checkOf()
	expect(t, found, "configuration", levelOK, a.file)
	expect(t, found, "tun", levelOK, "can be opened")
	expect(t, found, "bpffs", levelOK, bpffs)
	expect(t, found, "backend", levelOK, "userspace, configured (auto would choose ")
	expect(t, found, "daemon", levelWarn, "none runs", "wgsteer run --config "+a.file)
	expect(t, found, "layers", levelWarn, "none is there", "wgsteer guard")
	expect(t, found, "port", levelOK, "UDP port 51871 is free")
	expect(t, found, "key", levelWarn, "no key yet")
	for _, made := range []string{"run", "state-1", "nodes"} {
		if _, err := os.Lstat(filepath.Join(dir, made)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("check made %s: %v", made, err)
		}
	}

	a.start() // for its key and its record
	a.stop()
	_, found = a.checkOf()
	expect(t, found, "peers", levelWarn, "no other node has a record yet")
	expect(t, found, "policy", levelOK, "strict is in force")
	a.write(a.text + "podDevices: [lo]\n")
	code, found := a.checkOf()
	expect(t, found, "pod-devices", levelFail, "podDevices in force: none; the configuration says: lo", "wgsteer guard")
	if code != exitFailed {
		t.Errorf("exit %d where other podDevices are in force", code)
	}
	if code, out, errs := a.do("guard"); code != exitOK {
		t.Fatalf("guard: exit %d:\n%s%s", code, out, errs)
	}
	_, found = a.checkOf()
	expect(t, found, "pod-devices", levelOK, "by podDevices alone: lo")
	a.write(a.text + "policy: permissive\n")
	code, found = a.checkOf()
	expect(t, found, "policy", levelFail, "strict is in force; the configuration says permissive", "wgsteer guard")
	if code != exitFailed {
		t.Errorf("exit %d where another policy is in force", code)
	}
	if code, out, errs := a.do("guard"); code != exitOK {
		t.Fatalf("guard: exit %d:\n%s%s", code, out, errs)
	}
	_, found = a.checkOf()
	expect(t, found, "policy", levelWarn, "permissive is in force")
	a.write(a.text) // strict is the default
	_, found = a.checkOf()
	expect(t, found, "policy", levelFail, "permissive is in force: what cannot be encrypted passes in plaintext, and is counted; the configuration says strict")

	b.start()
	defer b.stop()
	await(t, "node-2 knows node-1", func() bool { return len(b.status().Peers) == 1 })

	_, found = b.checkOf("--wait", "200ms")
	expect(t, found, "daemon", levelOK, fmt.Sprintf("process %d is ready", os.Getpid()))
	expect(t, found, "port", levelOK, "is the running daemon's")
	expect(t, found, "firewall", levelOK, "51872")
	expect(t, found, "peer node-1", levelFail, "no answer from 192.0.2.1:51871", "nft insert rule inet filter input udp dport 51871 accept", "iptables -I INPUT -p udp --dport 51871 -j ACCEPT")

	b.write(strings.Replace(b.text, "listenPort: 51872", "listenPort: 51972", 1))
	_, found = b.checkOf("--wait", "200ms")
	expect(t, found, "firewall", levelOK, "51872") // the daemon has not read the other one
	b.write(b.text)

	silent := "name: node-3\npublicKey: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\nendpoint: 192.0.2.3:51873\nnodeIPs: [192.0.2.3]\npodCIDRs: [10.244.3.0/24]\n"
	if err := os.WriteFile(filepath.Join(dir, "nodes", "node-3.yaml"), []byte(silent), 0o600); err != nil {
		t.Fatal(err)
	}
	code, found = a.checkOf("--wait", "2s")
	if code != exitFailed {
		t.Errorf("exit code %d with a peer that does not answer", code)
	}
	expect(t, found, "peer node-2", levelOK, "answers at 192.0.2.2:51872")
	expect(t, found, "peer node-3", levelFail, "no answer from 192.0.2.3:51873", "--dport 51873")
	expect(t, found, "firewall", levelOK, "51871")

	// A node behind a NAT may have no endpoint; that it is silent is no failure.
	unreachable := "name: node-4\npublicKey: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\nnodeIPs: [192.0.2.4]\npodCIDRs: [10.244.4.0/24]\n"
	if err := os.WriteFile(filepath.Join(dir, "nodes", "node-4.yaml"), []byte(unreachable), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "node-2 knows all", func() bool { return len(b.status().Peers) == 3 })
	for _, n := range []*node{a, b} {
		_, found = n.checkOf("--wait", "200ms")
		expect(t, found, "peer node-4", levelWarn, "has no endpoint; it has to speak first", "persistentKeepalive")
	}

	// What keeps the packets out is found, and the line that is printed opens it.
	command(t, privtest.Tool(t, "nft"), "add table inet f; add chain inet f input { type filter hook input priority 0; policy drop; }; add rule inet f input tcp dport 0-65535 accept")
	_, found = a.checkOf("--wait", "1s")
	expect(t, found, "peer node-2", levelFail, "no answer from 192.0.2.2:51872")
	expect(t, found, "firewall", levelFail, "chain inet f input drops UDP to port 51871", "nft insert rule inet f input udp dport 51871 accept")
	_, foundB := b.checkOf("--wait", "100ms")
	for _, f := range []finding{found["firewall"], foundB["firewall"]} {
		command(t, "sh", "-c", strings.TrimSpace(f.Mend[0]))
	}
	_, found = a.checkOf("--wait", "10s")
	expect(t, found, "peer node-2", levelOK, "answers at 192.0.2.2:51872")
	expect(t, found, "firewall", levelOK, "51871")

	l, err := net.ListenPacket("udp4", ":51871")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, found = a.checkOf()
	expect(t, found, "port", levelFail, "UDP port 51871 is taken by another process", "ss -ulpn 'sport = :51871'")
	if code != exitFailed {
		t.Errorf("exit code %d with a port that is taken", code)
	}
}

func TestCheckOfABrokenConfig(t *testing.T) {
	e, out, _ := testEnv()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("clusterCIDRs: [x]\nmut: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"check", "--config", file}, e); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	want := "fail  configuration  " + file + ":1: clusterCIDRs: x: a prefix such as 10.244.0.0/16 or fd00:10:244::/48 is needed\n"
	if !strings.HasPrefix(out.String(), want) || !strings.Contains(out.String(), file+":2: mut: 1: unknown field") {
		t.Errorf("got\n%s", out)
	}
}

// A device that is named but not there is told, with what to do.
func TestCheckNamedDevices(t *testing.T) {
	e, out, _ := testEnv()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("clusterCIDRs: [x]\ndevices: [lo, nowhere7]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"check", "-o", "json", "--config", file}, e); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	var c checked
	if err := json.Unmarshal(out.Bytes(), &c); err != nil {
		t.Fatal(err)
	}
	var named []finding
	for _, f := range c.Findings {
		if strings.HasPrefix(f.Detail, "the configuration's devices") {
			named = append(named, f)
		}
	}
	want := []finding{{"devices", levelFail, "the configuration's devices name nowhere7, which does not exist", []string{
		"see what does: ip -brief link",
		"then set devices to the uplinks and overlay devices of this node, or remove it to have them found",
	}}}
	if diff := cmp.Diff(want, named); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if none := checkNamed(nil); none != nil {
		t.Errorf("without any: %+v", none)
	}
}

// TestJudgeBackend: what is configured, and what auto would choose; the TUN counts
// where a userspace tunnel runs alone.
func TestJudgeBackend(t *testing.T) {
	missing := errors.New("backend: kernel: make a kernel WireGuard link: this kernel has no WireGuard; modprobe wireguard")
	kernel := choice{chosen: dataplane.Kernel, reason: "auto: the kernel has WireGuard"}
	userspace := choice{chosen: dataplane.Userspace, reason: "auto: this kernel has no WireGuard"}
	for _, tt := range []struct {
		configured dataplane.Backend
		is, auto   choice
		level      level
		detail     string
		tun        bool
	}{
		{dataplane.Userspace, choice{chosen: dataplane.Userspace}, kernel, levelOK, "userspace, configured (auto would choose kernel: the kernel has WireGuard)", true},
		{dataplane.Userspace, choice{chosen: dataplane.Userspace}, userspace, levelOK, "userspace, configured (auto would choose userspace: this kernel has no WireGuard)", true},
		{dataplane.Auto, kernel, kernel, levelOK, "auto chooses kernel: the kernel has WireGuard", false},
		{dataplane.Auto, userspace, userspace, levelOK, "auto chooses userspace: this kernel has no WireGuard", true},
		{dataplane.Kernel, choice{chosen: dataplane.Kernel}, kernel, levelOK, "kernel, configured (auto would choose kernel: the kernel has WireGuard)", false},
		{dataplane.Kernel, choice{err: missing}, userspace, levelFail, "kernel: make a kernel WireGuard link: this kernel has no WireGuard; modprobe wireguard", false},
	} {
		f, tun := judgeBackend(tt.configured, tt.is, tt.auto)
		if f.Name != "backend" || f.Level != tt.level || f.Detail != tt.detail || tun != tt.tun {
			t.Errorf("got %+v, %v; want %+v", f, tun, tt)
		}
	}
}

func TestJudgePeer(t *testing.T) {
	endpoint := netip.MustParseAddrPort("192.0.2.3:7")
	for _, tt := range []struct {
		endpoint netip.AddrPort
		answers  bool
		level    level
		detail   string
	}{
		{endpoint, true, levelOK, "answers at 192.0.2.3:7"},
		{endpoint, false, levelFail, "no answer from 192.0.2.3:7"},
		{netip.AddrPort{}, false, levelWarn, "has no endpoint; it has to speak first"},
	} {
		f := judgePeer("b", tt.endpoint, tt.answers)
		if f.Name != "peer b" || f.Level != tt.level || f.Detail != tt.detail || (len(f.Mend) == 0) != tt.answers {
			t.Errorf("got %+v, want %+v", f, tt)
		}
	}
}

// TestCheckDaemon: problems with records never make an unready daemon look better.
func TestCheckDaemon(t *testing.T) {
	problem := []keymgr.Problem{{Node: "node-b", Record: "node-b.yaml", Message: "wrong"}}
	for name, tc := range map[string]struct {
		status dataplane.Status
		want   level
	}{
		"ready":                 {dataplane.Status{Ready: true}, levelOK},
		"ready, a bad record":   {dataplane.Status{Ready: true, Problems: problem}, levelWarn},
		"degraded":              {dataplane.Status{Ready: true, Reasons: []string{"tunnel: down"}}, levelWarn},
		"unready":               {dataplane.Status{}, levelFail},
		"unready, a bad record": {dataplane.Status{Problems: problem}, levelFail},
	} {
		t.Run(name, func(t *testing.T) {
			if got := checkDaemon(statusReply{Status: tc.status}); got.Level != tc.want {
				t.Errorf("got %s, want %s", got.Level, tc.want)
			}
		})
	}
}
