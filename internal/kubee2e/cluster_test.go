package kubee2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/kubetest"
	"github.com/wgsteer/wgsteer/internal/labtest"
	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr"
)

const port = 51871

// cluster is a lab with an API server on its underlay and a kubelet on each node.
type cluster struct {
	*netlab.Lab
	t        *testing.T
	api      *kubetest.Server
	set      *appsv1.DaemonSet // what install rendered last
	kubelets map[string]*kubelet
	later    map[string][]netip.Addr // see expect
}

// up brings a cluster up, without Nodes and without wgsteer.
func up(t *testing.T, options netlab.Options) *cluster {
	t.Helper()
	privtest.BPFFS(t) // can there be one?
	privtest.Tool(t, "nsenter")
	options.Reaper = []string{os.Args[0], reap}
	lab, err := netlab.New(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &cluster{Lab: lab, t: t, kubelets: map[string]*kubelet{}}
	t.Cleanup(c.down)
	c.startAPI()
	for _, n := range c.Nodes {
		c.kubelets[n.Name] = newKubelet(t, lab, n)
	}
	return c
}

// startAPI starts the API server at the gateway's address: the nodes reach it over the
// network that their pods' packets cross.
func (c *cluster) startAPI() {
	c.t.Helper()
	gateway, err := c.Find("gateway")
	if err != nil {
		c.t.Fatal(err)
	}
	c.api = kubetest.Start(c.t, kubetest.Options{
		Address: gateway.IPs[0],
		Command: func(name string, args ...string) *exec.Cmd {
			cmd := exec.Command("nsenter", append([]string{"--net=" + gateway.Path, name}, args...)...)
			cmd.Env = append(os.Environ(), "WGSTEER_LAB="+c.Run) // by which the lab's reaper knows it
			return cmd
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return nil, err
			}
			return gateway.Dial(ctx, network, at)
		},
	})
	// The controller that writes this does not run.
	if out, err := c.api.Kubectl(c.t, "", "create", "configmap", "kube-root-ca.crt", "--namespace", namespace, "--from-literal=ca.crt="+string(c.api.CA)); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
}

func (c *cluster) apiServer() netip.AddrPort {
	return netip.AddrPortFrom(c.api.Host, uint16(c.api.Port))
}

func (c *cluster) down() {
	for _, k := range c.kubelets {
		k.end()
	}
	for _, n := range c.Nodes {
		text, err := os.ReadFile(filepath.Join(n.RunDir, "log"))
		if err == nil && (c.t.Failed() || bytes.Contains(text, []byte("DATA RACE"))) {
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

// taint is the chart's start-up taint.
const taint = "wgsteer.io/agent-not-ready"

// register makes a node's Node, as a kubelet with --register-with-taints does.
func (c *cluster) register(name string) {
	c.t.Helper()
	n := c.node(name)
	c.api.CreateNode(c.t, name, texts(n.IPs), texts(n.PodCIDRs))
	if out, err := c.api.Kubectl(c.t, "", "taint", "node", name, taint+"=true:NoSchedule"); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
}

func texts[T interface{ String() string }](list []T) (all []string) {
	for _, v := range list {
		all = append(all, v.String())
	}
	return all
}

// status asks a node's daemon; the zero Status when it does not answer.
func (c *cluster) status(name string) (s dataplane.Status) {
	sockets, err := filepath.Glob(filepath.Join(c.kubelets[name].root, "run/wgsteer/*.sock"))
	if err != nil || len(sockets) != 1 {
		return s
	}
	return labtest.Status(sockets[0])
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

// awaitSessions waits until a node has sessions with these and no others.
func (c *cluster) awaitSessions(name string, others ...string) {
	c.t.Helper()
	c.await(name, "ready, with a session with every peer", func(s dataplane.Status) bool {
		with := map[string]bool{}
		for _, p := range s.Peers {
			with[p.Name] = !p.LastHandshake.IsZero()
		}
		for _, o := range others {
			if !with[o] {
				return false
			}
		}
		return s.Ready && len(with) == len(others)
	})
}

// joined waits until these nodes, and no others, have sessions with each other.
func (c *cluster) joined(names ...string) {
	c.t.Helper()
	for _, n := range names {
		var others []string
		for _, o := range names {
			if o != n {
				others = append(others, o)
			}
		}
		c.awaitSessions(n, others...)
	}
}

// until waits for a condition, at most a minute.
func (c *cluster) until(what string, condition func() bool) {
	c.t.Helper()
	c.within(time.Minute, what, condition)
}

// within waits for a condition.
func (c *cluster) within(limit time.Duration, what string, condition func() bool) {
	c.t.Helper()
	labtest.Within(c.t, limit, what, condition)
}

// mentions tells whether one of a node's problems has a text in it.
func mentions(s dataplane.Status, text string) bool {
	return slices.ContainsFunc(s.Problems, func(p keymgr.Problem) bool { return strings.Contains(fmt.Sprint(p), text) })
}

// kubectl runs kubectl as the admin, which has to work.
func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.api.Kubectl(c.t, "", args...)
	if err != nil {
		c.t.Fatalf("kubectl %q: %v\n%s", args, err, out)
	}
	return out
}
