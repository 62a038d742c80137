package e2e_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// wireReport is what these tests read of `check --wire -o json`.
type wireReport struct {
	OK                   bool
	Failures, Warnings   []string
	WireGuard, Plaintext netlab.Count
	Lost                 uint64
	PlaintextPairs       []struct{ From, To, Device, Direction string }
	Devices              []struct {
		Name                   string
		Steered                bool
		ProbesSent, ProbesSeen int
	}
	Peers []struct {
		Name           string
		Sent, Received netlab.Count
		Unanswered     uint64
	}
}

// checkWire runs `check --wire` on a node while fn runs. A handshake waits for
// up to 5 s since the last one, and has a second to be answered.
func (c *cluster) checkWire(name, seconds string, fn func()) (r wireReport) {
	c.t.Helper()
	type answer struct {
		text []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := c.wgsteer(name, "check", "--wire", "--seconds", seconds, "-o", "json")
		done <- answer{text, err}
	}()
	var a answer
	for running := true; running; {
		fn()
		select {
		case a = <-done:
			running = false
		case <-time.After(10 * time.Millisecond): // not as fast as can be
		}
	}
	if err := json.Unmarshal(a.text, &r); err != nil {
		c.t.Fatalf("%v, and %v in:\n%s", a.err, err, a.text)
	}
	if r.OK != (a.err == nil) {
		c.t.Errorf("ok is %v, and the exit status says %v", r.OK, a.err)
	}
	return r
}

// TestCheckWire: all is well, then a node lets its pods' packets leave.
func TestCheckWire(t *testing.T) {
	c := upWith(t, plain, netlab.Options{Pods: 1})
	// Nothing to send, nor a handshake to make yet, is no failure.
	if r := c.checkWire("node-a", "2", func() {}); !r.OK {
		t.Errorf("idle: %+v", r)
	}
	var flows []netlab.Flow
	for _, family := range c.Families {
		flows = append(flows, netlab.Flow{From: "node-a/pod-1", To: "node-b/pod-1", Protocol: netlab.UDP, Family: family})
	}
	r := c.checkWire("node-a", "2", func() { c.mustFlow(flows...) })
	if !r.OK || r.Plaintext.Frames != 0 || r.WireGuard.Frames == 0 || r.Lost != 0 || len(r.Warnings) > 0 {
		t.Errorf("encrypted: %+v", r)
	}
	if len(r.Devices) != 1 || r.Devices[0].Name != "eth0" || !r.Devices[0].Steered || r.Devices[0].ProbesSent != 2 || r.Devices[0].ProbesSeen != 2 {
		t.Errorf("devices %+v", r.Devices)
	}
	if len(r.Peers) != 1 || r.Peers[0].Name != "node-b" || r.Peers[0].Sent.Frames == 0 || r.Peers[0].Received.Frames == 0 {
		t.Errorf("peers %+v", r.Peers)
	}

	setpriv := privtest.Tool(t, "setpriv")
	n := c.node("node-a")
	out, err := n.Command(t.Context(), setpriv, "--bounding-set=-net_raw", "--inh-caps=-net_raw", plain, "check", "--wire", "--config", c.config(n)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "this needs CAP_NET_RAW: run as root") {
		t.Errorf("without CAP_NET_RAW: %v, %s", err, out)
	}

	// The uplink is not among the devices to steer, and the policy lets pass.
	text, err := os.ReadFile(c.config(n))
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "policy: permissive\ndevices: [none0]\n"...)
	if err := os.WriteFile(c.config(n), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.daemons[n.Name].Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.await(n.Name, "eth0 no longer steered", func(s dataplane.Status) bool {
		for _, d := range s.Steering.Devices {
			if d.Name == "eth0" {
				return false
			}
		}
		return s.Policy == dataplane.Permissive && s.Ready
	})
	from, to := n.Pods[0].IPs[0], c.node("node-b").Pods[0].IPs[0]
	conn, err := n.Pods[0].Dial(t.Context(), "udp4", netip.AddrPortFrom(to, 9))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	leak := func() { _, _ = conn.Write([]byte("in plaintext")) } // an ICMP error of an earlier one may be its result
	r = c.checkWire("node-a", "2", leak)
	if r.OK || r.Plaintext.Frames == 0 || len(r.PlaintextPairs) == 0 || !strings.Contains(strings.Join(r.Failures, "\n"), "could be read on the wire") {
		t.Fatalf("the leak was not found: %+v", r)
	}
	if p := r.PlaintextPairs[0]; p.From != from.String() || p.To != to.String() || p.Device != "eth0" || p.Direction != "out" {
		t.Errorf("the pair is %+v, want %s > %s out of eth0", p, from, to)
	}
	if len(r.Devices) != 1 || r.Devices[0].Steered || !strings.Contains(strings.Join(r.Warnings, "\n"), "eth0 (default route) is not steered") {
		t.Errorf("it does not say that eth0 is not steered: %+v", r)
	}
	// The other node sees it come in.
	r = c.checkWire("node-b", "2", leak)
	if r.OK || len(r.PlaintextPairs) == 0 || r.PlaintextPairs[0].Direction != "in" {
		t.Errorf("node-b does not see it arrive: %+v", r)
	}

	// A peer that does not answer is named, and is no failure of the capture.
	c.kill("node-b")
	r = c.checkWire("node-a", "10", func() {})
	if !r.OK || r.Peers[0].Unanswered == 0 || !strings.Contains(strings.Join(r.Warnings, "\n"), "peer node-b at ") {
		t.Errorf("node-b's silence is not told: %+v", r)
	}
}
