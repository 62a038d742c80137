package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
)

// stopped is a daemon whose data plane does not run, and its configuration in
// a file.
func stopped(t *testing.T) *daemon {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	text := "clusterCIDRs: [10.244.0.0/16]\nrunDir: " + dir + "\nmetrics: \"\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e, _, _ := testEnv()
	e.Stderr = t.Output()
	config, err := loadConfig(e, file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDaemon(e, config, e.journal(config.Log))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// serveControl answers on d's socket until the test ends.
func serveControl(t *testing.T, d *daemon) *controlClient {
	t.Helper()
	l, err := listenControl(t.Context(), d.config)
	if err != nil {
		t.Fatal(err)
	}
	metered, err := d.metricsHandler()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.serve(ctx, l, controlHandler(ctx, d, metered)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return newControlClient(d.config)
}

func TestControlStatus(t *testing.T) {
	d := stopped(t)
	client := serveControl(t, d)
	reply, err := client.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if reply.State != dataplane.Stopped || reply.Ready || reply.PID != os.Getpid() || reply.Configuration.File != d.config.File {
		t.Errorf("got %+v", reply)
	}
}

func TestControlSocketIsPrivate(t *testing.T) {
	d := stopped(t)
	serveControl(t, d)
	info, err := os.Stat(d.config.socketPath())
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
}

// A daemon that was killed leaves its socket; the next one, which holds the
// lock, takes its place.
func TestControlSocketReplacesStale(t *testing.T) {
	d := stopped(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.config.socketPath(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := newControlClient(d.config).status(t.Context()); !errors.Is(err, errNoDaemon) {
		t.Errorf("on a stale socket: %v, want errNoDaemon", err)
	}
	if _, err := serveControl(t, d).status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestControlErrors(t *testing.T) {
	d := stopped(t)
	_, err := newControlClient(d.config).status(t.Context())
	want := "no daemon runs for interface wgsteer0: nothing listens on " + d.config.socketPath() + "; start it with `systemctl start wgsteer` or `wgsteer run --config FILE`"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	client := serveControl(t, d)
	if _, err := client.greet(t.Context(), time.Hour); err == nil || err.Error() != `timeout "1h0m0s": a duration up to 1m0s is needed` {
		t.Errorf("too long a wait: %v", err)
	}
	if _, err := client.rotate(t.Context(), time.Millisecond); err == nil || strings.Contains(err.Error(), "version") {
		t.Errorf("rotation without a running data plane: %v", err)
	}
	if err := client.call(t.Context(), "GET", "/v9/status", &statusReply{}); err == nil || !strings.Contains(err.Error(), "404 Not Found to /v9/status; is it of another version?") {
		t.Errorf("unknown path: %v", err)
	}
}

// A reload of a wrong file changes nothing and is told; the next good one
// makes it right.
func TestReload(t *testing.T) {
	d := stopped(t)
	client := serveControl(t, d)
	good, err := os.ReadFile(d.config.File)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(d.config.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reload := func() error { return client.call(t.Context(), "POST", pathReload, &configurationStatus{}) }
	for name, tt := range map[string]struct{ add, want string }{
		"a wrong value":    {"mtu: big\n", ":4: mtu: big: a whole number from 0 to 65535 is needed, not a text"},
		"an unknown field": {"mut: 1400\n", ":4: mut: 1400: unknown field; known are "},
		"what is held":     {"source: {directory: /elsewhere}\n", `: source.directory: "/elsewhere" cannot take the place of "/etc/wgsteer/nodes" while running; restart the daemon`},
		"the log's form":   {"log: {format: json}\n", `: log.format: "json" cannot take the place of "text" while running; restart the daemon`},
	} {
		write(string(good) + tt.add)
		err := reload()
		want := "the running configuration stays: " + d.config.File + tt.want
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		reply, err := client.status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(reply.Configuration.Error, tt.want) {
			t.Errorf("%s: the status says %q", name, reply.Configuration.Error)
		}
	}
	write(string(good) + "endpoint: 192.0.2.9:7\nlog: {level: debug}\n")
	if err := reload(); err != nil {
		t.Fatal(err)
	}
	reply, err := client.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if reply.Configuration.Error != "" || d.config.Plane.Endpoint != netip.MustParseAddrPort("192.0.2.9:7") || d.level.Level() >= 0 {
		t.Errorf("after a good one: error %q, endpoint %s, level %s", reply.Configuration.Error, d.config.Plane.Endpoint, d.level.Level())
	}
}
