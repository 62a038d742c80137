package dataplane_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/file"
)

// instances makes names of tunnel devices unique.
var instances atomic.Int32

// config is that of a node in this test's directories; the network namespace is
// the test binary's own.
func config(t *testing.T) dataplane.Config {
	t.Helper()
	privtest.Root(t)
	dir := t.TempDir()
	n := instances.Add(1)
	return dataplane.Config{
		Node:         "node-a",
		Interface:    fmt.Sprintf("wgt%d-%d", os.Getpid(), n),
		ListenPort:   uint16(20000 + n),
		ClusterCIDRs: prefixes("10.244.0.0/16", "fd00:10:244::/48"),
		PodCIDRs:     prefixes("10.244.1.0/24", "fd00:10:244:1::/64"),
		NodeIPs:      addrs("192.0.2.1", "2001:db8::1"),
		StateDir:     filepath.Join(dir, "state"),
		BPFFS:        privtest.BPFFS(t),
		Source:       source(t, dir),
		Logger:       slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func source(t *testing.T, dir string) *file.Source {
	return file.New(file.Options{Dir: filepath.Join(dir, "nodes"), Self: "node-a", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

// run starts a data plane that ends with the test.
func run(t *testing.T, c dataplane.Config) *dataplane.DataPlane {
	t.Helper()
	d, err := dataplane.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if s := d.Status(); s.State != dataplane.Stopped || s.Ready {
			t.Errorf("after Run: %s, ready %v", s.State, s.Ready)
		}
	})
	return d
}

// wait waits for a condition and says what it saw last.
func wait(t *testing.T, d *dataplane.DataPlane, what string, condition func(dataplane.Status) bool) dataplane.Status {
	t.Helper()
	var s dataplane.Status
	until(func() bool { s = d.Status(); return condition(s) })
	if !condition(s) {
		t.Fatalf("%s: not in 30 s; state %s, reasons %q, problems %v", what, s.State, s.Reasons, s.Problems)
	}
	return s
}

func ready(s dataplane.Status) bool { return s.Ready }

// record writes the record of another node.
func record(t *testing.T, c dataplane.Config, name, seed, pods string) {
	t.Helper()
	text := fmt.Sprintf("name: %s\npublicKey: %s\nendpoint: 127.0.0.1:9\nnodeIPs: [192.0.2.%d]\npodCIDRs: [%s]\n", name, publicKey(t, seed), 100+len(pods)+int(seed[0])%100, pods)
	writeRecord(t, c, name, text)
}

func writeRecord(t *testing.T, c dataplane.Config, name, text string) {
	t.Helper()
	path := filepath.Join(filepath.Dir(c.StateDir), "nodes", name+".yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestPeersComeAndGo(t *testing.T) {
	c := config(t)
	d := run(t, c)
	wait(t, d, "ready alone", ready)
	record(t, c, "node-b", "b", "10.244.2.0/24")
	s := wait(t, d, "node-b", func(s dataplane.Status) bool { return len(s.Peers) == 1 })
	if p := s.Peers[0]; p.Name != "node-b" || p.PublicKey != publicKey(t, "b") || len(s.Tunnel.Peers) != 1 {
		t.Errorf("peer: %+v; in the tunnel: %+v", p, s.Tunnel.Peers)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(c.StateDir), "nodes", "node-b.yaml")); err != nil {
		t.Fatal(err)
	}
	wait(t, d, "node-b gone", func(s dataplane.Status) bool { return len(s.Peers)+len(s.Tunnel.Peers) == 0 })
}

// TestPodsOutsideAreTold: also of a node that is refused for what else. A node without them
// is a peer.
func TestPodsOutsideAreTold(t *testing.T) {
	c := config(t)
	record(t, c, "node-b", "b", "10.9.2.0/24")
	record(t, c, "node-c", "c", "10.9.3.0/24")
	record(t, c, "node-d", "c", "10.9.4.0/24") // the same key
	record(t, c, "node-e", "e", "10.244.5.0/24")
	d := run(t, c)
	s := wait(t, d, "all are told", func(s dataplane.Status) bool { return s.Ready && len(s.PodsOutside) == 3 })
	if strings.Join(s.PodsOutside, " ") != "node-b node-c node-d" || len(s.Peers) != 2 || len(s.Peers[0].PodCIDRs) > 0 || len(s.Problems) < 3 {
		t.Errorf("outside %v, peers %v, problems %v", s.PodsOutside, s.Peers, s.Problems)
	}
	for _, name := range []string{"node-b", "node-c", "node-d"} {
		if err := os.Remove(filepath.Join(filepath.Dir(c.StateDir), "nodes", name+".yaml")); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, d, "none is outside", func(s dataplane.Status) bool { return len(s.PodsOutside) == 0 })
}

func TestTheHolderStaysOverARestart(t *testing.T) {
	c := config(t)
	record(t, c, "node-b", "b", "10.244.2.0/24")
	t.Run("first", func(t *testing.T) {
		wait(t, run(t, c), "node-b", func(s dataplane.Status) bool { return s.Ready && len(s.Peers) == 1 })
	})
	record(t, c, "node-a2", "c", "10.244.2.0/25") // sorts before the holder
	s := wait(t, run(t, c), "the newcomer refused", func(s dataplane.Status) bool { return s.Ready && len(s.Problems) > 0 })
	if len(s.Peers) != 1 || s.Peers[0].Name != "node-b" {
		t.Errorf("programmed: %+v", s.Peers)
	}
	if p := s.Problems[0]; p.Node != "node-a2" || !strings.Contains(p.Message, "node-b") || !strings.Contains(p.Message, "10.244.2.0/25") {
		t.Errorf("problem: %+v", p)
	}
}

// TestLostRecordsLoseNoPeer: the directory of records goes away, and comes back.
func TestLostRecordsLoseNoPeer(t *testing.T) {
	c := config(t)
	record(t, c, "node-b", "b", "10.244.2.0/24")
	d := run(t, c)
	wait(t, d, "node-b", func(s dataplane.Status) bool { return s.State == dataplane.Ready && len(s.Peers) == 1 })
	nodes := filepath.Join(filepath.Dir(c.StateDir), "nodes")
	if err := os.Rename(nodes, nodes+"-away"); err != nil {
		t.Fatal(err)
	}
	s := wait(t, d, "the loss told", func(s dataplane.Status) bool { return s.State == dataplane.Degraded && len(s.Problems) > 0 })
	if err := d.Reload(c); err != nil { // anything that publishes again
		t.Errorf("reload: %v", err)
	}
	if s = d.Status(); len(s.Peers) != 1 || len(s.Tunnel.Peers) != 1 {
		t.Errorf("peers left: %+v", s.Peers)
	}
	if _, err := os.Stat(nodes); !os.IsNotExist(err) {
		t.Errorf("an empty directory took the lost one's place: %v", err)
	}
	if err := os.Rename(nodes+"-away", nodes); err != nil {
		t.Fatal(err)
	}
	wait(t, d, "ready again", func(s dataplane.Status) bool { return s.State == dataplane.Ready && len(s.Peers) == 1 })
}

// TestOnlyProgrammedNodesHold: a record that could not be programmed is no
// holder of what a later one claims.
func TestOnlyProgrammedNodesHold(t *testing.T) {
	c := config(t)
	writeRecord(t, c, "node-a2", fmt.Sprintf("name: node-a2\npublicKey: %s\nnodeIPs: [192.0.2.50]\nendpoint: 10.244.9.9:51871\n", publicKey(t, "x")))
	d := run(t, c)
	wait(t, d, "the refusal", func(s dataplane.Status) bool { return s.Ready && len(s.Problems) == 1 })
	writeRecord(t, c, "node-b", fmt.Sprintf("name: node-b\npublicKey: %s\nnodeIPs: [192.0.2.50]\npodCIDRs: [10.244.2.0/24]\n", publicKey(t, "b")))
	s := wait(t, d, "the dispute", func(s dataplane.Status) bool { return len(s.Problems) == 2 })
	for _, p := range s.Problems {
		if strings.Contains(p.Message, "had it before") {
			t.Errorf("problem: %+v", p)
		}
	}
}

// TestWhatNobodyCanHave: a pod with the address of a node that joins later, as whoever has
// a kubelet's credentials can make one, does not keep that node out, nor its own.
func TestWhatNobodyCanHave(t *testing.T) {
	c := config(t)
	record(t, c, "node-b", "b", "10.244.2.0/24, 192.0.2.77/32")
	d := run(t, c)
	wait(t, d, "node-b", func(s dataplane.Status) bool { return s.Ready && len(s.Peers) == 1 && len(s.Problems) == 1 })
	writeRecord(t, c, "node-c", fmt.Sprintf("name: node-c\npublicKey: %s\nnodeIPs: [192.0.2.77]\npodCIDRs: [10.244.3.0/24]\n", publicKey(t, "c")))
	s := wait(t, d, "node-c", func(s dataplane.Status) bool { return len(s.Peers) == 2 })
	if len(s.Problems) != 1 || s.Problems[0].Node != "node-b" || !strings.Contains(s.Problems[0].Message, "192.0.2.77/32 is in none of clusterCIDRs") {
		t.Errorf("problems %+v", s.Problems)
	}
	if strings.Join(s.PodsOutside, " ") != "node-b" {
		t.Errorf("outside: %v", s.PodsOutside)
	}
}

// TestAReloadNeedsNoRecord: that this node's record cannot be written is told,
// and keeps no change from being applied.
func TestAReloadNeedsNoRecord(t *testing.T) {
	c := config(t)
	d := run(t, c)
	wait(t, d, "ready", ready)
	nodes := filepath.Join(filepath.Dir(c.StateDir), "nodes")
	if err := os.Rename(nodes, nodes+"-away"); err != nil {
		t.Fatal(err)
	}
	change := c
	change.MTU = 1300
	if err := d.Reload(change); err != nil {
		t.Fatal(err)
	}
	if s := d.Status(); s.MTU != 1300 || s.State != dataplane.Degraded {
		t.Errorf("MTU %d, %s, %q", s.MTU, s.State, s.Reasons)
	}
}

// TestALinkSetDownComesUp: with the next reconciliation.
func TestALinkSetDownComesUp(t *testing.T) {
	c := config(t)
	d := run(t, c)
	wait(t, d, "ready", ready)
	if out, err := exec.Command("ip", "link", "set", c.Interface, "down").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	record(t, c, "node-b", "b", "10.244.2.0/24")
	wait(t, d, "node-b, and the link up", func(s dataplane.Status) bool {
		link, err := net.InterfaceByName(c.Interface)
		return err == nil && link.Flags&net.FlagUp != 0 && len(s.Peers) == 1 && s.State == dataplane.Ready
	})
}

func TestTheTunnelComesBack(t *testing.T) {
	c := config(t)
	record(t, c, "node-b", "b", "10.244.2.0/24")
	d := run(t, c)
	before := wait(t, d, "ready", func(s dataplane.Status) bool { return s.Ready && len(s.Tunnel.Peers) == 1 }).Steering.Tunnel.Index
	if out, err := exec.Command("ip", "link", "del", c.Interface).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wait(t, d, "a new tunnel", func(s dataplane.Status) bool {
		return s.Ready && s.State == dataplane.Ready && s.Steering.Tunnel.Index > before && len(s.Tunnel.Peers) == 1
	})
}

func TestReload(t *testing.T) {
	c := config(t)
	d := run(t, c)
	wait(t, d, "ready", ready)
	change := c
	change.Policy, change.MTU = dataplane.Permissive, 1300
	if err := d.Reload(change); err != nil {
		t.Fatal(err)
	}
	if s := d.Status(); s.Policy != dataplane.Permissive || s.MTU != 1300 || !s.Ready {
		t.Errorf("after the reload: %s, MTU %d, %s", s.Policy, s.MTU, s.State)
	}
	for name, bad := range map[string]func(*dataplane.Config){
		"invalid":   func(c *dataplane.Config) { c.Policy = "lax" },
		"interface": func(c *dataplane.Config) { c.Interface = "other0" },
		"node":      func(c *dataplane.Config) { c.Node = "other" },
		"applies not": func(c *dataplane.Config) { // refused by the host's facts: no default route here
			c.NodeIPs = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := change
			config.Policy = dataplane.Strict
			bad(&config)
			if err := d.Reload(config); err == nil {
				t.Fatal("it was taken")
			} else {
				t.Log(err)
			}
			if s := d.Status(); s.Policy != dataplane.Permissive || s.Interface != c.Interface || s.State != dataplane.Ready {
				t.Errorf("the running state changed: %s %s %s %q", s.Policy, s.Interface, s.State, s.Reasons)
			}
		})
	}
}

func TestRotateKeyRewritesTheRecord(t *testing.T) {
	c := config(t)
	d := run(t, c)
	before := wait(t, d, "ready", ready).PublicKey
	r, err := d.RotateKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := d.Status(); r.OldPublicKey != before || r.NewPublicKey == before || s.PublicKey != r.NewPublicKey || s.Tunnel.PublicKey != r.NewPublicKey {
		t.Errorf("%+v; status %s, tunnel %s", r, s.PublicKey, s.Tunnel.PublicKey)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(c.StateDir), "nodes", "node-a.yaml"))
	if err != nil || !strings.Contains(string(text), r.NewPublicKey.String()) {
		t.Errorf("the record: %v\n%s", err, text)
	}
	if key, err := keymgr.NewStore(c.StateDir).Load(); err != nil || key.Public() != r.NewPublicKey {
		t.Errorf("the stored key: %v", err)
	}
}

func TestACorruptKeyIsReported(t *testing.T) {
	c := config(t)
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.StateDir, "private.key"), []byte("rust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := wait(t, run(t, c), "ready", ready)
	if len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Message, "was corrupt: it was set aside as ") {
		t.Errorf("problems: %+v", s.Problems)
	}
	kept, err := filepath.Glob(filepath.Join(c.StateDir, "private.key.corrupt*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("set aside: %v, %v", kept, err)
	}
	if text, err := os.ReadFile(kept[0]); err != nil || string(text) != "rust\n" {
		t.Errorf("what was set aside: %q, %v", text, err)
	}
}

// flaky fails until it is mended.
type flaky struct {
	*file.Source
	mended atomic.Bool
}

func (f *flaky) Run(ctx context.Context, deliver func(keymgr.Snapshot)) error {
	if !f.mended.Load() {
		return errors.New("out of order")
	}
	return f.Source.Run(ctx, deliver)
}

func TestASourceThatFailsIsTriedAgain(t *testing.T) {
	c := config(t)
	f := &flaky{Source: source(t, filepath.Dir(c.StateDir))}
	c.Source = f
	d := run(t, c)
	s := wait(t, d, "the failure", func(s dataplane.Status) bool { return strings.Contains(fmt.Sprint(s.Reasons), "out of order") })
	if s.Ready || s.State != dataplane.Steering {
		t.Errorf("state %s, ready %v", s.State, s.Ready)
	}
	f.mended.Store(true)
	wait(t, d, "works again", func(s dataplane.Status) bool { return s.State == dataplane.Ready && len(s.Reasons) == 0 })
}

func TestRunFails(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*testing.T, *dataplane.Config)
		want   string
	}{
		"no bpffs": {func(t *testing.T, c *dataplane.Config) { c.BPFFS = t.TempDir() }, "mount -t bpf"},
		"port in use": {func(t *testing.T, c *dataplane.Config) {
			taken, err := net.ListenPacket("udp4", ":0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { taken.Close() })
			c.ListenPort = uint16(taken.LocalAddr().(*net.UDPAddr).Port)
		}, "in use"},
		"no node address": {func(_ *testing.T, c *dataplane.Config) { c.NodeIPs = nil }, "name this node's addresses"},
		"someone else's link": {func(t *testing.T, c *dataplane.Config) {
			if out, err := exec.Command("ip", "link", "add", c.Interface, "type", "veth", "peer", "name", "x"+c.Interface[1:]).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			name := c.Interface
			t.Cleanup(func() { exec.Command("ip", "link", "del", name).Run() })
		}, "wgt"},
		"state directory is a file": {func(t *testing.T, c *dataplane.Config) {
			if err := os.WriteFile(c.StateDir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "state"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			tc.change(t, &c)
			d, err := dataplane.New(c)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err = d.Run(ctx)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			} else {
				t.Log(err)
			}
		})
	}
}
