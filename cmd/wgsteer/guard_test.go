package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestGuardBeforeTheNetwork: on a node without addresses and routes the guard
// stands, a second time too; the daemon takes it over, and keeps it from then on.
func TestGuardBeforeTheNetwork(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	ip := privtest.Tool(t, "ip")
	dir := t.TempDir()
	d := newNode(t, dir, privtest.BPFFS(t), 1)
	command(t, ip, "address", "delete", "192.0.2.1/32", "dev", "lo")
	d.write(strings.Replace(d.text, "nodeIPs: [192.0.2.1]\n", "", 1))
	routes := func() string { return command(t, ip, "route", "show", "table", "all", "proto", "117") }
	for range 2 {
		if code, out, errs := d.do("guard"); code != exitOK || !strings.Contains(out, "no device leads to other nodes yet") {
			t.Fatalf("exit %d:\n%s%s", code, out, errs)
		}
		if got := routes(); !strings.Contains(got, "unreachable 10.244.0.0/16") {
			t.Errorf("routes of ours: %q", got)
		}
	}
	text := d.text
	d.write(strings.Replace(text, "nodeIPs: [192.0.2.1]\n", "policy: permissive\n", 1))
	if code, out, errs := d.do("guard"); code != exitOK || !strings.Contains(out, "warning  the policy is permissive") {
		t.Errorf("permissive: exit %d:\n%s%s", code, out, errs)
	}
	if _, err := os.Lstat(filepath.Join(dir, "state-1", "private.key")); !os.IsNotExist(err) {
		t.Errorf("the guard has made a key: %v", err)
	}

	command(t, ip, "address", "add", "192.0.2.1/32", "dev", "lo")
	d.write(d.text)
	d.start()
	code, out, _ := d.do("guard", "-o", "json")
	var kept guarded
	if err := json.Unmarshal([]byte(out), &kept); err != nil || code != exitOK || !kept.Kept || kept.PID != os.Getpid() {
		t.Errorf("beside the daemon: exit %d, %+v, %v", code, kept, err)
	}
	if s := d.status(); !s.Ready {
		t.Errorf("the guard verb has disturbed the daemon: %+v", s.Reasons)
	}
	d.stop()
	if code, out, errs := d.do("teardown"); code != exitOK || routes() != "" {
		t.Errorf("teardown: exit %d:\n%s%s%s", code, out, errs, routes())
	}
}

// TestGuardWithoutMemory: what the last run remembered is damaged. The guard stands
// on the cluster's prefixes alone, says so, and leaves the file for the daemon.
func TestGuardWithoutMemory(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	dir := t.TempDir()
	d := newNode(t, dir, privtest.BPFFS(t), 1)
	claims := filepath.Join(dir, "state-1", "claims.yaml")
	if err := os.Mkdir(filepath.Dir(claims), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(claims, []byte("no claims"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := d.do("guard")
	if code != exitOK || !strings.Contains(errs, "guarding without the peers of the last run") || !strings.Contains(errs, claims) {
		t.Errorf("exit %d: %s", code, errs)
	}
	if text, err := os.ReadFile(claims); err != nil || string(text) != "no claims" {
		t.Errorf("the damaged file is now %q, %v", text, err)
	}
	if code, _, _ := d.do("teardown"); code != exitOK {
		t.Errorf("teardown: exit %d", code)
	}
}

// TestGuardRefuses: what is wrong in the configuration puts nothing up.
func TestGuardRefuses(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	dir := t.TempDir()
	d := newNode(t, dir, privtest.BPFFS(t), 1)
	d.write(d.text + "polices: strict\n")
	if code, _, errs := d.do("guard"); code != exitUsage || !strings.Contains(errs, "polices") {
		t.Errorf("exit %d: %s", code, errs)
	}
	d.write(strings.Replace(d.text, "bpffs: ", "bpffs: /tmp", 1))
	if code, out, errs := d.do("guard"); code != exitFailed || out != "" || strings.Count(errs, "mount -t bpf bpf /sys/fs/bpf") != 1 {
		t.Errorf("without a bpffs: exit %d: %s%s", code, out, errs)
	}
	if got := command(t, privtest.Tool(t, "ip"), "route", "show", "table", "all", "proto", "117"); got != "" {
		t.Errorf("routes are left: %s", got)
	}
}
