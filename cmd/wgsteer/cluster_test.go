package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
)

// What is known of the cluster at a start: what the API server says, else what it once
// said, else nothing, which is an error.
func TestRecall(t *testing.T) {
	prefix := func(s string) keymgr.Cluster {
		return keymgr.Cluster{CIDRs: []netip.Prefix{netip.MustParsePrefix(s)}, From: "a test"}
	}
	refused := errors.New("connection refused")
	never := func(context.Context) (keymgr.Cluster, error) { return keymgr.Cluster{}, refused }
	hangs := func(ctx context.Context) (keymgr.Cluster, error) { <-ctx.Done(); return keymgr.Cluster{}, ctx.Err() }
	silentCluster := func(context.Context) (keymgr.Cluster, error) {
		return keymgr.Cluster{}, fmt.Errorf("it does not tell: %w", errNotToBeFound)
	}
	after := func(tries int, found keymgr.Cluster) finder {
		return func(context.Context) (keymgr.Cluster, error) {
			if tries--; tries >= 0 {
				return keymgr.Cluster{}, refused
			}
			return found, nil
		}
	}
	for name, tt := range map[string]struct {
		find       finder
		remembered keymgr.Cluster
		want       foundCluster
		wantError  string
		took       time.Duration
		log        string // in it; how often it warned
		warned     int
	}{
		"at once":        {find: after(0, prefix("10.0.0.0/8")), want: foundCluster{Cluster: prefix("10.0.0.0/8")}},
		"later":          {find: after(20, prefix("10.0.0.0/8")), want: foundCluster{Cluster: prefix("10.0.0.0/8")}, took: 20 * time.Second, log: "connection refused", warned: 1},
		"the same again": {find: after(0, prefix("10.0.0.0/8")), remembered: prefix("10.0.0.0/8"), want: foundCluster{Cluster: prefix("10.0.0.0/8")}},
		"others":         {find: after(0, prefix("10.0.0.0/8")), remembered: prefix("10.9.0.0/16"), want: foundCluster{Cluster: prefix("10.0.0.0/8")}, log: "were=10.9.0.0/16 are=10.0.0.0/8", warned: 1},
		"elsewhere": {find: after(0, prefix("10.0.0.0/16")), remembered: prefix("10.9.0.0/16"), log: "were=10.9.0.0/16 are=10.0.0.0/16", warned: 1, want: foundCluster{Cluster: keymgr.Cluster{
			CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.9.0.0/16")}, From: "a test, and 10.9.0.0/16 by an earlier start (set clusterCIDRs when no pod is there any more)"}}},
		"narrower": {find: after(0, prefix("10.9.0.0/16")), remembered: prefix("10.0.0.0/8"), log: "were=10.0.0.0/8 are=10.9.0.0/16", warned: 1, want: foundCluster{Cluster: keymgr.Cluster{
			CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, From: "a test, and 10.0.0.0/8 by an earlier start (set clusterCIDRs when no pod is there any more)"}}},
		"no API, a memory":    {find: never, remembered: prefix("10.9.0.0/16"), warned: 1, want: foundCluster{Cluster: prefix("10.9.0.0/16"), Unconfirmed: "the API server did not tell: connection refused; mend that, or set clusterCIDRs to the prefixes that hold all pods of the cluster"}},
		"one hangs, a memory": {find: hangs, remembered: prefix("10.9.0.0/16"), took: time.Second, warned: 1, want: foundCluster{Cluster: prefix("10.9.0.0/16"), Unconfirmed: "the API server did not tell: context deadline exceeded; mend that, or set clusterCIDRs to the prefixes that hold all pods of the cluster"}},
		"not told, a memory":  {find: silentCluster, remembered: prefix("10.9.0.0/16"), warned: 1, want: foundCluster{Cluster: prefix("10.9.0.0/16"), Unconfirmed: "it does not tell: set clusterCIDRs to the prefixes that hold all pods of the cluster"}},
		"no API":              {find: never, took: 30 * time.Second, warned: 1, wantError: "find the prefixes of the cluster's pods: the API server did not tell within 30s: connection refused; mend that, or set clusterCIDRs"},
		"an API that hangs":   {find: hangs, took: 30 * time.Second, wantError: "did not tell within 30s: context deadline exceeded"},
		"not told":            {find: silentCluster, wantError: "find the prefixes of the cluster's pods: it does not tell: set clusterCIDRs"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logged bytes.Buffer
				start := time.Now()
				got, err := recall(t.Context(), slog.New(slog.NewTextHandler(&logged, nil)), tt.find, tt.remembered)
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if tt.wantError == "" && err != nil || tt.wantError != "" && (err == nil || !strings.Contains(err.Error(), tt.wantError)) {
					t.Errorf("error %v, want %q", err, tt.wantError)
				}
				if diff := cmp.Diff(tt.want, got, comparers()); err == nil && diff != "" {
					t.Errorf("found (-want +got):\n%s", diff)
				}
				if n := strings.Count(logged.String(), "level=WARN"); n != tt.warned || !strings.Contains(logged.String(), tt.log) {
					t.Errorf("%d warnings, want %d with %q:\n%s", n, tt.warned, tt.log, logged.String())
				}
			})
		})
	}
}

// check has less time for it, and says how long it took.
func TestSearchCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 12300*time.Millisecond)
		defer cancel()
		never := func(context.Context) (keymgr.Cluster, error) {
			return keymgr.Cluster{}, errors.New("connection refused")
		}
		_, err := recall(ctx, slog.New(slog.DiscardHandler), never, keymgr.Cluster{})
		if want := "the API server did not tell within 12.3s: connection refused;"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	})
}

// What is found counts where the rest of the configuration agrees with it.
func TestFoundClusterIsValidated(t *testing.T) {
	c, err := parseConfig("f", []byte("nodeIPs: [192.0.2.1]\npodCIDRs: [10.244.1.0/24]\nsource: {kubernetes: {}}\n"), nodeNames{host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]string{
		"10.244.0.0/16": "",
		"10.9.0.0/16":   "by a test, but: podCIDRs: 10.244.1.0/24: lies in none of clusterCIDRs (10.9.0.0/16)",
		"0.0.0.0/0":     "set clusterCIDRs",
	} {
		found := foundCluster{Cluster: keymgr.Cluster{CIDRs: []netip.Prefix{netip.MustParsePrefix(prefix)}, From: "a test"}}
		next, err := c.in(found)
		if want == "" && (err != nil || next.Cluster == nil || next.findsCluster()) {
			t.Errorf("%s: %v, %+v", prefix, err, next)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", prefix, err, want)
		}
	}
}

// A daemon that is asked to end while it looks for the cluster's prefixes ends as at any
// other moment, and a SIGHUP does not kill it there.
func TestEndOfTheSearch(t *testing.T) {
	file := awayConfig(t, t.TempDir())
	e, _, _ := testEnv()
	var mu sync.Mutex
	var logged bytes.Buffer
	var heeded []os.Signal
	stops, ended := make(chan os.Signal), make(chan int)
	e.Stderr = io.MultiWriter(t.Output(), &locked{&mu, &logged})
	e.Signals = func(sigs ...os.Signal) (<-chan os.Signal, func()) {
		mu.Lock()
		defer mu.Unlock()
		heeded = append(heeded, sigs...)
		return stops, func() {}
	}
	text := func() string {
		mu.Lock()
		defer mu.Unlock()
		return logged.String()
	}
	go func() { ended <- run(t.Context(), []string{"run", "--config", file}, e) }()
	await(t, "it searches", func() bool { return strings.Contains(text(), "waiting for the API server") })
	mu.Lock()
	if !slices.Contains(heeded, os.Signal(syscall.SIGHUP)) {
		t.Error("SIGHUP kills it")
	}
	mu.Unlock()
	stops <- syscall.SIGTERM
	if code := <-ended; code != exitOK || strings.Contains(text(), "did not tell") {
		t.Errorf("ended with %d:\n%s", code, text())
	}
}

// awayConfig writes to dir the configuration of a node whose API server is not there.
func awayConfig(t *testing.T, dir string) (file string) {
	t.Helper()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	api := write("kubeconfig", `{apiVersion: v1, kind: Config, current-context: c,
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: u, user: {}}],
contexts: [{name: c, context: {cluster: c, user: u}}]}
`)
	return write("config.yaml", fmt.Sprintf("node: node-a\nnodeIPs: [192.0.2.1]\nstateDir: %[1]s/state\nrunDir: %[1]s\nsource: {kubernetes: {kubeconfig: %[2]s}}\n", dir, api))
}

// Whoever is asked to end takes no memory for an answer: a reload does not go on.
func TestRecallEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	find := func(ctx context.Context) (keymgr.Cluster, error) { <-ctx.Done(); return keymgr.Cluster{}, ctx.Err() }
	for _, cidrs := range [][]netip.Prefix{nil, {netip.MustParsePrefix("10.9.0.0/16")}} {
		if _, err := recall(ctx, slog.New(slog.DiscardHandler), find, keymgr.Cluster{CIDRs: cidrs}); err != context.Canceled {
			t.Errorf("with %v remembered: %v", cidrs, err)
		}
	}
}

// What check and bugreport read of the cluster changes nothing of what is remembered.
func TestALookChangesNothing(t *testing.T) {
	dir := t.TempDir()
	e, _, _ := testEnv()
	c, err := loadConfig(e, awayConfig(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	look := func() (keymgr.Snapshot, int) {
		t.Helper()
		source, err := c.sourceToLookAt()
		if err != nil {
			t.Fatal(err)
		}
		s, err := firstSnapshot(t.Context(), source)
		if err != nil || !s.Partial {
			t.Errorf("a look without the API server: %+v, %v", s, err)
		}
		entries, err := os.ReadDir(c.Plane.StateDir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return s, len(entries)
	}
	if _, files := look(); files != 0 {
		t.Errorf("a look made %d files", files)
	}
	if _, err := os.Stat(c.Plane.StateDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a look made the state directory: %v", err)
	}
	if err := os.Mkdir(c.Plane.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Plane.StateDir, "kubernetes.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, files := look()
	if files != 1 || !slices.ContainsFunc(s.Problems, func(p keymgr.Problem) bool { return strings.Contains(p.Message, "kubernetes.json is corrupt") }) {
		t.Errorf("%d files after a look at a damaged one, problems %+v", files, s.Problems)
	}
}

// What is damaged is shown to who looks, and set aside and told by who starts.
func TestDamagedCluster(t *testing.T) {
	e, _, _ := testEnv()
	c, err := loadConfig(e, awayConfig(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.Plane.StateDir, "cluster.json")
	if err := os.Mkdir(c.Plane.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // there is no API server
	defer cancel()
	_, found := checkKubernetes(ctx, c)
	if !slices.ContainsFunc(found, func(f finding) bool {
		return f.Name == "clusterCIDRs" && f.Level == levelWarn && strings.Contains(f.Detail, path+" is corrupt")
	}) {
		t.Errorf("check: %+v", found)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("after check: %v", err)
	}
	var logged bytes.Buffer
	if _, err := c.withCluster(ctx, slog.New(slog.NewTextHandler(&logged, nil))); err == nil || !strings.Contains(logged.String(), "set aside") {
		t.Errorf("%v; logged\n%s", err, &logged)
	}
	if aside, err := filepath.Glob(path + "?*"); err != nil || len(aside) != 1 {
		t.Errorf("set aside: %q, %v", aside, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a start: %v", err)
	}
	d := stopped(t)
	d.config.Cluster = &foundCluster{SetAside: path + ".corrupt"}
	if p := d.status().Problems; len(p) != 1 || !p[0].Warning || !strings.Contains(p[0].Message, "set aside as "+path+".corrupt") {
		t.Errorf("problems %+v", p)
	}
}

// A disk that is full keeps no node from being guarded; that a restart may lack the
// prefixes is told, until a reload has written them.
func TestClusterThatCannotBeRemembered(t *testing.T) {
	d := stopped(t)
	d.config.Cluster = &foundCluster{Cluster: keymgr.Cluster{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, From: "a test"}}
	d.config.Plane.StateDir = filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(d.config.Plane.StateDir, nil, 0o600); err != nil { // a file in its place
		t.Fatal(err)
	}
	d.config.rememberCluster(d.log)
	if p := d.status().Problems; len(p) != 1 || p[0].Warning || !strings.Contains(p[0].Message, "a start without API server will not have") {
		t.Errorf("problems %+v", p)
	}
	if err := os.Remove(d.config.Plane.StateDir); err != nil {
		t.Fatal(err)
	}
	d.config.Cluster = &foundCluster{Cluster: d.config.Cluster.Cluster} // as a reload finds it
	d.config.rememberCluster(d.log)
	if p := d.status().Problems; len(p) != 0 {
		t.Errorf("problems %+v", p)
	}
}
