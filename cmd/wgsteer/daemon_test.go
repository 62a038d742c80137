package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// node is a node of a test: a configuration file, and the daemon that runs it.
type node struct {
	t       *testing.T
	file    string
	text    string // of the file
	metrics string

	hangups, stops chan os.Signal
	ended          chan int // the exit code
	mu             sync.Mutex
	messages       []string // to the service manager
	log            *bytes.Buffer
}

// newNode writes the configuration of node n of the network namespace that the
// test is in; nodes share dir's records. Interface names are unique per host.
func newNode(t *testing.T, dir, bpffs string, n int) *node {
	t.Helper()
	d := &node{
		t:       t,
		file:    filepath.Join(dir, fmt.Sprintf("node-%d.yaml", n)),
		metrics: fmt.Sprintf("127.0.0.1:%d", 9500+n),
		hangups: make(chan os.Signal), stops: make(chan os.Signal), ended: make(chan int, 1),
		log: new(bytes.Buffer),
	}
	d.text = fmt.Sprintf(`node: node-%[1]d
interface: wgt%[2]d-%[1]d
listenPort: %[3]d
clusterCIDRs: [10.244.0.0/16]
podCIDRs: [10.244.%[1]d.0/24]
nodeIPs: [192.0.2.%[1]d]
stateDir: %[4]s/state-%[1]d
runDir: %[4]s/run
bpffs: %[5]s
source: {directory: %[4]s/nodes}
metrics: %[6]s
`, n, os.Getpid(), 51870+n, dir, bpffs, d.metrics)
	d.write(d.text)
	command(t, privtest.Tool(t, "ip"), "address", "add", fmt.Sprintf("192.0.2.%d/32", n), "dev", "lo")
	return d
}

func (d *node) write(text string) {
	d.t.Helper()
	if err := os.WriteFile(d.file, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// do runs a verb with this node's configuration.
func (d *node) do(args ...string) (code int, stdout, stderr string) {
	e, out, errs := testEnv()
	code = run(d.t.Context(), append(args, "--config", d.file), e)
	return code, out.String(), errs.String()
}

func (d *node) status() statusReply {
	d.t.Helper()
	_, out, errs := d.do("status", "-o", "json")
	var s statusReply
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		d.t.Fatalf("status: %v\n%s%s", err, out, errs)
	}
	return s
}

// start runs the daemon until stop, and waits until it is ready.
func (d *node) start() {
	d.t.Helper()
	e, _, _ := testEnv()
	e.Stderr = io.MultiWriter(d.t.Output(), &locked{&d.mu, d.log})
	e.Signals = func(sigs ...os.Signal) (<-chan os.Signal, func()) {
		if slices.Contains(sigs, os.Signal(syscall.SIGHUP)) {
			return d.hangups, func() {}
		}
		return d.stops, func() {}
	}
	e.Notify = func(message string) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.messages = append(d.messages, message)
		return nil
	}
	go func() { d.ended <- run(d.t.Context(), []string{"run", "--config", d.file}, e) }()
	await(d.t, "the daemon is ready", func() bool {
		select {
		case code := <-d.ended:
			d.t.Fatalf("the daemon ended with %d", code)
		default:
		}
		code, _, _ := d.do("status")
		return code == exitOK
	})
}

func (d *node) stop() {
	d.t.Helper()
	select {
	case d.stops <- syscall.SIGTERM:
	case code := <-d.ended:
		d.t.Fatalf("the daemon has ended before, with %d", code)
	}
	select {
	case code := <-d.ended:
		if code != exitOK {
			d.t.Errorf("the daemon ended with %d", code)
		}
	case <-time.After(20 * time.Second):
		d.t.Fatal("the daemon does not stop")
	}
}

func (d *node) told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.messages)
}

// locked is a writer for several goroutines.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// A daemon's life, as its user sees it.
func TestDaemon(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	d := newNode(t, t.TempDir(), privtest.BPFFS(t), 1)
	d.start()

	s := d.status()
	if s.State != dataplane.Ready || s.PID != os.Getpid() || s.PublicKey.IsZero() {
		t.Errorf("status %+v", s)
	}
	for _, want := range []string{"READY=1", "STATUS=ready, 0 of 0 peers connected"} {
		await(t, want, func() bool { return slices.Contains(d.told(), want) })
	}

	t.Run("a second one is refused", func(t *testing.T) {
		code, _, errs := d.do("run")
		if want := fmt.Sprintf("as process %d; stop that first", os.Getpid()); code != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("run: %d %q, want %q", code, errs, want)
		}
		if code, _, errs := d.do("teardown"); code != exitFailed || !strings.Contains(errs, "stop that first") {
			t.Errorf("teardown: %d %q", code, errs)
		}
	})
	t.Run("its HTTP answers", func(t *testing.T) {
		for path, want := range map[string]string{"/metrics": "\nwgsteer_ready{", "/healthz": "ready\n", "/readyz": "ready\n"} {
			if body := fetch(t, "http://"+d.metrics+path); !strings.Contains("\n"+body, want) {
				t.Errorf("%s: no %q in %q", path, want, body)
			}
		}
	})
	t.Run("a bad reload changes nothing", func(t *testing.T) {
		d.write(d.text + "mtu: big\n")
		d.hangups <- syscall.SIGHUP
		await(t, "the status tells", func() bool {
			return strings.HasSuffix(d.status().Configuration.Error, ":12: mtu: big: a whole number from 0 to 65535 is needed, not a text")
		})
		if s := d.status(); !s.Ready || s.MTU == 0 {
			t.Errorf("after it: %+v", s)
		}
	})
	t.Run("a good one is taken up", func(t *testing.T) {
		d.write(d.text + "mtu: 1300\n")
		d.hangups <- syscall.SIGHUP
		await(t, "the MTU is the new one", func() bool { s := d.status(); return s.MTU == 1300 && s.Configuration.Error == "" })
		device, err := net.InterfaceByName(s.Interface)
		if err != nil || device.MTU != 1300 {
			t.Errorf("device %+v, %v", device, err)
		}
		told := d.told()
		i := slices.IndexFunc(told, func(m string) bool { return strings.HasPrefix(m, "RELOADING=1\nMONOTONIC_USEC=") })
		if i < 0 || !slices.Contains(told[i:], "READY=1") {
			t.Errorf("the service manager was told %q", told)
		}
	})
	t.Run("the key is rotated", func(t *testing.T) {
		code, out, errs := d.do("keys", "rotate", "-o", "json")
		var r rotated
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK {
			t.Fatalf("%d %v\n%s%s", code, err, out, errs)
		}
		if r.OldPublicKey != s.PublicKey || r.NewPublicKey == s.PublicKey || !r.Running {
			t.Errorf("got %+v, the key was %s", r, s.PublicKey)
		}
		_, out, _ = d.do("keys", "show")
		if !strings.Contains(out, r.NewPublicKey.String()) || d.status().PublicKey != r.NewPublicKey {
			t.Errorf("keys show: %s, status: %s", out, d.status().PublicKey)
		}
	})
	d.stop()
	if told := d.told(); told[len(told)-1] != "STOPPING=1" {
		t.Errorf("the last that the service manager was told is %q", told[len(told)-1])
	}
	if code, _, errs := d.do("status"); code != exitFailed || !strings.Contains(errs, "no daemon runs") {
		t.Errorf("status afterwards: %d %q", code, errs)
	}
}

// Without a daemon the key is rotated too, and the record has it; teardown
// removes what the daemon left, and a second time finds nothing.
func TestAfterTheDaemon(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	d := newNode(t, t.TempDir(), privtest.BPFFS(t), 1)
	d.start()
	s := d.status()
	d.stop()

	code, out, errs := d.do("keys", "rotate")
	if want := "no daemon runs; this node's record has the new key"; code != exitOK || !strings.Contains(out, s.PublicKey.String()) || !strings.Contains(out, want) {
		t.Errorf("rotate: %d\n%s%s", code, out, errs)
	}
	d.start()
	if now := d.status().PublicKey; now == s.PublicKey || !strings.Contains(out, now.String()) {
		t.Errorf("the daemon has key %s; rotate said\n%s", now, out)
	}
	for _, p := range d.status().Problems {
		t.Errorf("problem: %+v", p)
	}
	d.stop()

	code, out, errs = d.do("teardown")
	for _, want := range []string{"removed  unreachable route to 10.244.0.0/16", "removed  pin ", "kept     " + filepath.Dir(d.file) + "/state-1\n", "kept     " + filepath.Dir(d.file) + "/nodes/node-1.yaml\n", "/" + s.Interface + ".lock\n"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("teardown: %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	e, again, _ := testEnv()
	e.Signals = func(...os.Signal) (<-chan os.Signal, func()) {
		t.Error("teardown without --hold takes signals, which then do not end it")
		return nil, func() {}
	}
	code = run(t.Context(), []string{"teardown", "--config", d.file}, e)
	if want := "nothing to remove: there is nothing of wgsteer for interface " + s.Interface + " in the kernel\n"; code != exitOK || !strings.HasPrefix(again.String(), want) {
		t.Errorf("teardown again: %d\n%s", code, again)
	}

	e, _, _ = testEnv()
	e.Stdout = &locked{&d.mu, d.log}
	e.Signals = func(...os.Signal) (<-chan os.Signal, func()) { return d.stops, func() {} }
	go func() { d.ended <- run(t.Context(), []string{"teardown", "--hold", "--config", d.file}, e) }()
	d.stop() // it takes the signal, and no error
}

// A port that is taken is told by its field, and nothing has begun.
func TestMetricsPortInUse(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	d := newNode(t, t.TempDir(), privtest.BPFFS(t), 1)
	l, err := net.Listen("tcp", d.metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, errs := d.do("run")
	want := fmt.Sprintf("wgsteer: %s: metrics: %s: another process listens there; set metrics to another address, or to \"\" for none\n", d.file, d.metrics)
	if code != exitFailed || errs != want {
		t.Errorf("%d %q, want %q", code, errs, want)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
