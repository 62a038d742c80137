package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/wgkey"
)

// secretsOf are the forms in which a node's present private key may be written, and
// what its file has beside it.
func secretsOf(t *testing.T, d *node) map[string]string {
	t.Helper()
	dir := filepath.Dir(d.file) + "/state-1"
	key, err := keymgr.NewStore(dir).Load()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/private.key")
	if err != nil {
		t.Fatal(err)
	}
	_, seal, ok := strings.Cut(strings.TrimSpace(string(text)), "sha256:")
	if !ok {
		t.Fatalf("no seal in %q", text)
	}
	raw := key.Reveal()
	return map[string]string{
		"base64": key.RevealBase64(), "base64 without its end": strings.TrimRight(key.RevealBase64(), "="),
		"hex": key.RevealHex(), "HEX": strings.ToUpper(key.RevealHex()), "raw": string(raw[:]),
		"half of it in hex": hex.EncodeToString(raw[:16]), "seal": seal,
	}
}

// searched fails where a secret is in any file, and returns the files.
func searched(t *testing.T, archive []byte, secrets ...map[string]string) map[string]string {
	t.Helper()
	files := unpack(t, archive)
	for _, forms := range secrets {
		for form, secret := range forms {
			for name, text := range files {
				if strings.Contains(text, secret) {
					t.Errorf("%s holds a secret (%s)", name, form)
				}
			}
		}
	}
	return files
}

func read[T any](t *testing.T, files map[string]string, name string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(files[name]), &v); err != nil {
		t.Errorf("%s: %v\n%s", name, err, files[name])
	}
	return v
}

// daemonParts are those that only a daemon can tell.
var daemonParts = []string{"status.json", "status.txt", "metrics.txt", "log.txt", "goroutines.txt"}

// A real daemon's report has all parts and no key, neither the present one nor one
// that was rotated, also where a user put one where it does not belong.
func TestBugreport(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	dir := t.TempDir()
	d := newNode(t, dir, privtest.BPFFS(t), 1)
	peer := wgkey.PublicKey{1, 2, 3}
	if err := os.MkdirAll(dir+"/nodes", 0o755); err != nil {
		t.Fatal(err)
	}
	record := "name: node-2\npublicKey: " + peer.String() + "\npodCIDRs: [10.244.2.0/24]\nnodeIPs: [192.0.2.2]\n"
	if err := os.WriteFile(dir+"/nodes/node-2.yaml", []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	await(t, "the peer is there", func() bool { return len(d.status().Peers) == 1 })
	before := secretsOf(t, d)
	if code, out, errs := d.do("keys", "rotate", "--wait", "1s"); code != exitOK {
		t.Fatalf("rotate: %d %s%s", code, out, errs)
	}
	after := secretsOf(t, d)
	if before["hex"] == after["hex"] {
		t.Fatal("the key was not rotated")
	}
	misplaced := map[string]string{"in an unknown field": "a-token-that-nobody-knows"}
	d.write(d.text + "privateKey: " + after["base64"] + "\noldKey: " + before["base64"] + "\ntoken: " + misplaced["in an unknown field"] + "\n")
	d.hangups <- syscall.SIGHUP
	await(t, "the reload is refused", func() bool { return d.status().Configuration.Error != "" })

	out := filepath.Join(dir, "report.tar.gz")
	code, told, errs := d.do("bugreport", "--out", out)
	if code != exitOK || !strings.HasPrefix(told, "wrote "+out+" (") || !strings.Contains(told, "all 17 parts") {
		t.Errorf("%d\n%s%s", code, told, errs)
	}
	info, err := os.Stat(out)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	archive, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	files := searched(t, archive, before, after, misplaced)
	for name, wants := range map[string][]string{
		"README.txt":              {"on node node-1 at ", "network.json", "No private key is in here"},
		"configuration-file.yaml": {"podCIDRs: [10.244.1.0/24]", "# line 12: an unknown field, not shown"},
		"configuration.json":      {`"listenPort"`, "51871"},
		"records.json":            {peer.String(), "node-2.yaml"},
		"claims.json":             {peer.String()},
		"check.json":              {`"layers"`, `"configuration"`},
		"metrics.txt":             {`wgsteer_peers{device="`, "wireguard_peer_info{"},
		"log.txt":                 {"msg=starting", "msg=reload"},
		"goroutines.txt":          {"goroutine profile: total "},
		"nftables.json":           {"unsteered_egress", "10.244.2.0-10.244.255.255"},
		"host.json":               {"Linux ", "/dev/net/tun", "private.key"},
		"version.json":            {`"go"`},
		"status.txt":              {"node-2"},
	} {
		for _, want := range wants {
			if !strings.Contains(files[name], want) {
				t.Errorf("%s lacks %q:\n%s", name, want, files[name])
			}
		}
	}
	status := read[statusReply](t, files, "status.json")
	if status.Node != "node-1" || len(status.Peers) != 1 || status.Peers[0].PublicKey != peer {
		t.Errorf("status %+v", status)
	}
	inKernel(t, files, status.Interface)

	t.Run("through a pipe", func(t *testing.T) {
		code, piped, errs := d.do("bugreport", "--out", "-")
		if files := searched(t, []byte(piped), before, after, misplaced); code != exitOK || len(files) != 18 || !strings.Contains(errs, "all 17 parts") {
			t.Errorf("%d, %d files\n%s", code, len(files), errs)
		}
	})
	d.stop()
	t.Run("without a daemon", func(t *testing.T) {
		code, piped, errs := d.do("bugreport", "--out", "-")
		files := searched(t, []byte(piped), before, after, misplaced)
		if code != exitOK || !strings.Contains(errs, "12 of 17 parts") {
			t.Errorf("%d\n%s", code, errs)
		}
		for _, name := range daemonParts {
			if _, there := files[name]; there || !strings.Contains(files["README.txt"], "all of it: "+name) {
				t.Errorf("%s: there %v, in\n%s", name, there, files["README.txt"])
			}
		}
		inKernel(t, files, "")
	})
	if left, err := filepath.Glob(dir + "/.*tar.gz*"); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// inKernel judges what was read from the kernel; tunnel is "" where there is none.
func inKernel(t *testing.T, files map[string]string, tunnel string) {
	t.Helper()
	maps := read[steering.InspectedMaps](t, files, "bpf-maps.json")
	i := slices.IndexFunc(maps.Prefixes, func(p steering.InspectedPrefix) bool { return p.Prefix.String() == "10.244.2.0/24" })
	if !maps.Strict || i < 0 || maps.Prefixes[i].Class != "remote_pod" || maps.Prefixes[i].Peer != "node-2" || len(maps.Peers) != 1 {
		t.Errorf("maps %+v", maps)
	}
	programs := read[steering.InspectedPrograms](t, files, "bpf-programs.json")
	if len(programs.Pins) < 5 || len(programs.Missing) > 0 {
		t.Errorf("programs %+v", programs)
	}
	network := read[steering.InspectedNetwork](t, files, "network.json")
	if !slices.ContainsFunc(network.Routes, func(r steering.InspectedRoute) bool {
		return r.Ours && r.Type == "unreachable" && r.Destination == "10.244.0.0/16"
	}) || !slices.ContainsFunc(network.Addresses, func(a string) bool { return strings.HasPrefix(a, "lo 192.0.2.1/32 ") }) || len(network.Rules) == 0 {
		t.Errorf("network %+v", network)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(network.Links, func(l steering.InspectedLink) bool { return l.Name == name })
	}
	on := func(name string) bool {
		return slices.ContainsFunc(programs.Devices, func(d steering.InspectedDevice) bool { return d.Name == name })
	}
	if !has("lo") || tunnel != "" && (!has(tunnel) || !on(tunnel)) {
		t.Errorf("links %+v, devices with programs %+v", network.Links, programs.Devices)
	}
	table := read[steering.InspectedTable](t, files, "nftables.json")
	if !table.Exists || table.Damage != "" || len(table.Counters) == 0 {
		t.Errorf("table %+v", table)
	}
}

// The capabilities of the pod are enough, and none is needed to get what there is.
func TestBugreportCapabilities(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	setpriv := privtest.Tool(t, "setpriv")
	d := newNode(t, t.TempDir(), privtest.BPFFS(t), 1)
	d.start()
	defer d.stop()
	for grant, want := range map[string]string{
		"-all,+net_admin,+bpf": "all 17 parts",
		"-all":                 "not to be had: ",
	} {
		cmd := exec.Command(setpriv, "--no-new-privs", "--bounding-set="+grant, "--inh-caps="+grant, "wgsteer", "bugreport", "--out", "-", "--config", d.file)
		var told strings.Builder
		cmd.Stderr = &told
		archive, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", grant, err, &told)
		}
		files := searched(t, archive, secretsOf(t, d))
		if !strings.Contains(told.String(), want) {
			t.Errorf("%s: %s\n%s", grant, &told, files["README.txt"])
		}
		if len(files["status.json"]) == 0 || len(files["network.json"]) == 0 {
			t.Errorf("%s: %d files\n%s", grant, len(files), files["README.txt"])
		}
	}
}
