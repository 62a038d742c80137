package e2e_test

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/labtest"
	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

const port = 51871

// cluster is a lab with a daemon on each node.
type cluster struct {
	*netlab.Lab
	t        *testing.T
	binary   string
	daemons  map[string]*netlab.Cmd
	backends map[string]string // of the nodes

	// Of the configuration.
	nodeCIDRs  []netip.Prefix
	podDevices []string
}

// up brings up a cluster of daemons that look for data races.
func up(t *testing.T, options netlab.Options) *cluster {
	t.Helper()
	return upWith(t, checked, options)
}

// upWith brings up a lab, proves that the capture sees plaintext there, and starts
// the daemons.
func upWith(t *testing.T, binary string, options netlab.Options) *cluster {
	t.Helper()
	c := bare(t, binary, options)
	if w := c.watch(func() { c.mustFlow(c.Flows()...) }); w.PlaintextPod.Frames+w.PlaintextPodNode.Frames == 0 {
		t.Fatalf("the capture sees no plaintext without a data plane: %+v", w)
	}
	c.startAll()
	return c
}

// bare brings up a lab without daemons.
func bare(t *testing.T, binary string, options netlab.Options) *cluster {
	t.Helper()
	privtest.BPFFS(t) // is there one?
	options.Reaper = []string{os.Args[0], reap}
	lab, err := netlab.New(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &cluster{Lab: lab, t: t, binary: binary, daemons: map[string]*netlab.Cmd{}}
	c.take(strings.Split(cmp.Or(os.Getenv("WGSTEER_TEST_BACKENDS"), "userspace"), ","))
	t.Cleanup(c.down)
	return c
}

// take has the nodes take back ends in turn.
func (c *cluster) take(backends []string) {
	c.backends = map[string]string{}
	for i, n := range c.Nodes {
		c.backends[n.Name] = backends[i%len(backends)]
	}
}

// knowNodes has the configuration say which addresses are nodes'.
func (c *cluster) knowNodes() {
	c.t.Helper()
	for _, ip := range c.Nodes[0].IPs {
		p, err := ip.Prefix(ip.BitLen() - 8)
		if err != nil {
			c.t.Fatal(err)
		}
		c.nodeCIDRs = append(c.nodeCIDRs, p)
	}
}

// startAll starts a daemon on each node, and waits until all have sessions with all.
func (c *cluster) startAll() {
	c.t.Helper()
	for _, n := range c.Nodes {
		c.start(n.Name)
	}
	for _, n := range c.Nodes {
		c.awaitSessions(n.Name)
	}
}

func (c *cluster) awaitSessions(name string) {
	c.t.Helper()
	c.await(name, "ready, with a session with every peer", func(s dataplane.Status) bool { return s.Ready && sessions(s) == len(c.Nodes)-1 })
}

func sessions(s dataplane.Status) (n int) {
	for _, p := range s.Peers {
		if !p.LastHandshake.IsZero() {
			n++
		}
	}
	return n
}

func (c *cluster) down() {
	for name := range c.daemons {
		c.kill(name)
	}
	for _, n := range c.Nodes {
		if text, err := os.ReadFile(c.log(n)); err == nil && (c.t.Failed() || bytes.Contains(text, []byte("DATA RACE"))) {
			c.t.Errorf("log of %s:\n%s", n.Name, text)
		}
	}
	if err := c.Down(); err != nil {
		c.t.Error(err)
	}
}

func (c *cluster) node(name string) *netlab.Node {
	c.t.Helper()
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	c.t.Fatalf("no node %s", name)
	return nil
}

func (c *cluster) log(n *netlab.Node) string    { return filepath.Join(n.RunDir, "log") }
func (c *cluster) config(n *netlab.Node) string { return filepath.Join(n.RunDir, "config.yaml") }

// start starts a node's daemon; it does not wait for it.
func (c *cluster) start(name string) {
	c.t.Helper()
	c.startBy(name)
}

// configure writes a node's configuration.
func (c *cluster) configure(name string) *netlab.Node {
	c.t.Helper()
	n := c.node(name)
	text := fmt.Sprintf(`node: %s
interface: %s
listenPort: %d
clusterCIDRs: [%s]
podCIDRs: [%s]
nodeCIDRs: [%s]
podDevices: [%s]
stateDir: %s
runDir: %s
bpffs: %s
source: {directory: %s}
metrics: ""
backend: %s
`, n.Name, n.Interface, port, quoted(c.ClusterCIDRs), quoted(n.PodCIDRs), quoted(c.nodeCIDRs), strings.Join(c.podDevices, ", "), n.StateDir, n.RunDir, n.BPFFS, c.Records, c.backends[name])
	if err := os.WriteFile(c.config(n), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// startBy starts a node's daemon by another command, which executes its arguments.
func (c *cluster) startBy(name string, by ...string) {
	c.t.Helper()
	n := c.configure(name)
	log, err := os.OpenFile(c.log(n), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	args := append(by, c.binary, "run", "--config", c.config(n))
	cmd := n.Command(c.t.Context(), args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return nil } // down ends it, and reads its log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.daemons[name] = cmd
}

// kill is kill -9.
func (c *cluster) kill(name string) {
	c.t.Helper()
	cmd := c.daemons[name]
	if err := cmd.Process.Kill(); err != nil {
		c.t.Errorf("kill the daemon of %s: %v", name, err)
	}
	_ = cmd.Wait() // its end is what was asked for
	delete(c.daemons, name)
}

// wgsteer runs a verb on a node and returns what it prints.
func (c *cluster) wgsteer(name string, args ...string) ([]byte, error) {
	n := c.node(name)
	cmd := n.Command(c.t.Context(), c.binary, append(args, "--config", c.config(n))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("wgsteer %s on %s: %w\n%s", strings.Join(args, " "), name, err, stderr.Bytes())
	}
	return out, err
}

// status asks a node's daemon; the zero Status when it does not answer.
func (c *cluster) status(name string) dataplane.Status {
	n := c.node(name)
	return labtest.Status(filepath.Join(n.RunDir, n.Interface+".sock"))
}

// await waits for a condition of a node's status.
func (c *cluster) await(name, what string, condition func(dataplane.Status) bool) dataplane.Status {
	c.t.Helper()
	var s dataplane.Status
	c.until(what+" on "+name, func() bool {
		s = c.status(name)
		return condition(s)
	})
	return s
}

// until waits for a condition, at most a minute.
func (c *cluster) until(what string, condition func() bool) {
	c.t.Helper()
	labtest.Within(c.t, time.Minute, what, condition)
}

// watch captures the wire while fn runs.
func (c *cluster) watch(fn func()) netlab.Wire {
	c.t.Helper()
	return labtest.Watch(c.t, func() (*netlab.Capture, error) { return c.Capture(port) }, fn)
}

// encrypted captures the wire while fn runs, and fails if it saw plaintext.
func (c *cluster) encrypted(fn func()) netlab.Wire {
	c.t.Helper()
	w := c.watch(fn)
	if w.PlaintextPod.Frames != 0 || w.PlaintextPodNode.Frames != 0 {
		c.t.Errorf("plaintext on the wire: %+v", w)
	}
	return w
}

// mustFlow runs flows, all of which have to work.
func (c *cluster) mustFlow(flows ...netlab.Flow) {
	c.t.Helper()
	// An emulated processor may need long.
	for _, r := range c.RunFlows(c.t.Context(), flows, netlab.FlowOptions{Timeout: time.Minute}) {
		if !r.OK {
			c.t.Errorf("%s: %s", r.Flow, r.Error)
		}
	}
}

// mustNotFlow runs flows, none of which may work.
func (c *cluster) mustNotFlow(flows ...netlab.Flow) {
	c.t.Helper()
	o := netlab.FlowOptions{Timeout: 1500 * time.Millisecond, Resend: 300 * time.Millisecond, Parallel: len(flows)}
	for _, r := range c.RunFlows(c.t.Context(), flows, o) {
		if r.OK {
			c.t.Errorf("%s works", r.Flow)
		}
	}
}

func quoted(list []netip.Prefix) string {
	var s []string
	for _, p := range list {
		s = append(s, fmt.Sprintf("%q", p))
	}
	return strings.Join(s, ", ")
}
