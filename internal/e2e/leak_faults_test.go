package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cilium/ebpf/link"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// What happens in the rows of the leak matrix.

func (s *scene) a() *netlab.Node { return s.node("node-a") }

func (s *scene) killA()  { s.kill("node-a") }
func (s *scene) startA() { s.start("node-a") }
func (s *scene) startB() { s.start("node-b") }

func (s *scene) stopA() {
	if err := s.daemons["node-a"].Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.daemons["node-a"].Wait(); err != nil {
		s.t.Errorf("the daemon ended with %v", err)
	}
	delete(s.daemons, "node-a")
}

// reboot is a node on which nothing of wgsteer is but its files: the guard unit
// runs before the network is up, then pods begin to send. The capture begins with
// them: before the guard there is no pod.
func (s *scene) reboot() {
	s.startAll() // peers are remembered
	s.killA()
	if out, err := s.wgsteer("node-a", "teardown"); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	s.sh("echo 1 > /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down")
	s.ip(s.a(), "link", "set", "eth0", "down")
	if out, err := s.wgsteer("node-a", "guard"); err != nil || !strings.Contains(string(out), "no device leads to other nodes yet") {
		s.t.Fatalf("%v\n%s", err, out)
	}
	s.ip(s.a(), "link", "set", "eth0", "up")
	gateway, err := s.Find("gateway")
	if err != nil {
		s.t.Fatal(err)
	}
	for i, cidr := range s.node("node-b").PodCIDRs {
		s.ip(s.a(), "route", "replace", cidr.String(), "via", s.node("node-b").IPs[i].String(), "dev", "eth0")
		everything := []string{"0.0.0.0/0", "::/0"}[i]
		s.ip(s.a(), "route", "replace", everything, "via", gateway.IPs[i].String(), "dev", "eth0")
	}
	s.begin()
	s.load = startLoad(s.t, s.cluster, s.pace)
}

// keylessPeer is a node-b that is guarded, and has neither key nor record yet.
func (s *scene) keylessPeer() {
	s.start("node-a")
	s.await("node-a", "ready", func(st dataplane.Status) bool { return st.Ready })
	s.configure("node-b")
	if out, err := s.wgsteer("node-b", "guard"); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	s.begin()
	s.load = startLoad(s.t, s.cluster, s.pace)
}

// firstStart has daemons come up while pods send. What those sent before the state
// guarding has left in plaintext; the capture begins behind it.
func (s *scene) firstStart() {
	s.load = startLoad(s.t, s.cluster, s.pace)
	for _, n := range s.Nodes {
		s.start(n.Name)
	}
	for _, n := range s.Nodes {
		s.await(n.Name, "guarded", func(st dataplane.Status) bool {
			return st.State != "" && st.State != dataplane.Stopped && st.State != dataplane.Checking && st.State != dataplane.Guarding
		})
	}
	s.begin()
}

func (s *scene) crashLoop() {
	for range 5 {
		s.kill("node-a")
		s.start("node-a")
		s.await("node-a", "an answer", func(st dataplane.Status) bool { return st.State != "" })
	}
}

func (s *scene) deleteTUN()  { s.ip(s.a(), "link", "delete", s.a().Interface) }
func (s *scene) setTUNDown() { s.ip(s.a(), "link", "set", s.a().Interface, "down") }

// ignoreLinkdown leaves a TUN device without a process, with the routes to the peer's
// pods, on a node that passes over routes of such devices.
func (s *scene) ignoreLinkdown() {
	s.sh("for f in /proc/sys/net/ipv[46]/conf/*/ignore_routes_with_linkdown; do echo 1 > $f; done")
	s.ip(s.a(), "tuntap", "add", s.a().Interface, "mode", "tun")
	s.ip(s.a(), "link", "set", s.a().Interface, "up")
	s.sh("for f in /proc/sys/net/ipv[46]/conf/*/ignore_routes_with_linkdown; do echo 1 > $f; done")
	for _, cidr := range s.node("node-b").PodCIDRs {
		s.ip(s.a(), "route", "add", cidr.String(), "dev", s.a().Interface)
	}
}

func (s *scene) startWithoutTUN() {
	s.deleteTUN()
	s.startA()
}

// sh runs a line of shell on node-a.
func (s *scene) sh(line string) {
	s.t.Helper()
	if out, err := s.a().Command(s.t.Context(), "sh", "-ec", line).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

func (s *scene) pins() string { return filepath.Join(s.a().BPFFS, s.a().Interface) }

func (s *scene) deletePins() {
	if err := os.RemoveAll(s.pins()); err != nil {
		s.t.Fatal(err)
	}
}

// killWithoutPins kills the daemon before it can put them back.
func (s *scene) killWithoutPins() {
	if err := s.daemons["node-a"].Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	s.deletePins()
	s.killA()
}

func (s *scene) flushRoutes() {
	s.ip(s.a(), "-4", "route", "flush", "proto", "117")
	s.ip(s.a(), "-6", "route", "flush", "proto", "117")
}

func (s *scene) flushTable() { s.sh("nft flush table " + s.table()) }

// newUplink adds a device to both nodes, and moves the pods' routes there.
func (s *scene) newUplink() {
	for _, n := range s.Nodes {
		if err := s.PlugIn(n, "eth1"); err != nil {
			s.t.Fatal(err)
		}
	}
	s.moveRoutes("eth1")
}

// moveRoutes gives a device of both nodes addresses, sets it up, and has it lead to
// the other node's pods.
func (s *scene) moveRoutes(device string) {
	for i, n := range s.Nodes {
		s.ip(n, "address", "add", fmt.Sprintf("198.18.0.%d/24", i+1), "dev", device)
		s.ip(n, "-6", "address", "add", fmt.Sprintf("2001:db8:0:2::%d/64", i+1), "dev", device, "nodad")
		s.ip(n, "link", "set", device, "up")
		via := []string{fmt.Sprintf("198.18.0.%d", 2-i), fmt.Sprintf("2001:db8:0:2::%d", 2-i)}
		for j, cidr := range s.Nodes[1-i].PodCIDRs {
			s.ip(n, "route", "replace", cidr.String(), "via", via[j], "dev", device)
		}
	}
}

// routeToGateway has the pods of the other node behind the underlay's gateway, which
// knows nothing of them.
func (s *scene) routeToGateway() {
	gateway, err := s.Find("gateway")
	if err != nil {
		s.t.Fatal(err)
	}
	for i, n := range s.Nodes {
		for j, cidr := range s.Nodes[1-i].PodCIDRs {
			s.ip(n, "route", "replace", cidr.String(), "via", gateway.IPs[j].String(), "dev", "eth0")
		}
	}
}

// removeRoutes leaves pods the default route alone.
func (s *scene) removeRoutes() {
	for i, n := range s.Nodes {
		for _, cidr := range s.Nodes[1-i].PodCIDRs {
			s.ip(n, "route", "delete", cidr.String(), "dev", "eth0")
		}
	}
}

// recordB is node-b's record; node-b's daemon, which would write it anew, is down.
func (s *scene) recordB() string {
	s.kill("node-b")
	return filepath.Join(s.Records, "node-b.yaml")
}

func (s *scene) removeRecord() {
	if err := os.Remove(s.recordB()); err != nil {
		s.t.Fatal(err)
	}
	s.await("node-a", "no peer", func(st dataplane.Status) bool { return len(st.Peers) == 0 })
}

func (s *scene) recordWithoutKey() {
	path := s.recordB()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "publicKey:") {
			kept = append(kept, line)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(kept, "")), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.await("node-a", "a problem with the record", func(st dataplane.Status) bool { return len(st.Problems) > 0 })
}

func (s *scene) corruptKey() {
	s.killA()
	if err := os.WriteFile(filepath.Join(s.a().StateDir, "private.key"), []byte("rubbish"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.startA()
}

// fullStateDir starts the daemon with a state directory of 64 KiB without a free
// byte, in a mount namespace that goes with it. A new peer has to be remembered. What a
// write that the kill cut short left aside (a dot file) is not taken along: the next one
// would have its room.
func (s *scene) fullStateDir() {
	s.killA()
	dir := s.a().StateDir
	s.startBy("node-a", "unshare", "--mount", "sh", "-ec", `
		mkdir "$0-copy" && cp -a "$0/." "$0-copy"
		mount -t tmpfs -o size=64k,mode=700 tmpfs "$0" && cp -a "$0-copy/"* "$0" && rm -r "$0-copy"
		cat /dev/zero > "$0/filler" || true
		exec "$@"`, dir)
	s.await("node-a", "ready", func(st dataplane.Status) bool { return st.Ready })
	record := "name: node-x\npublicKey: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nendpoint: 192.0.2.99:51871\nnodeIPs: [192.0.2.99]\npodCIDRs: [10.244.99.0/24]\n"
	if err := os.WriteFile(filepath.Join(s.Records, "node-x.yaml"), []byte(record), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.await("node-a", "node-x as a peer", func(st dataplane.Status) bool { return len(st.Peers) == 2 })
}

func (s *scene) wrongReload() {
	text, err := os.ReadFile(s.config(s.a()))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.config(s.a()), append(text, "podCIDRs: none\n"...), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := s.daemons["node-a"].Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	s.until("the log says that the reload was refused", func() bool {
		log, err := os.ReadFile(s.log(s.a()))
		return err == nil && strings.Contains(string(log), "podCIDRs")
	})
}

// overlay is a VXLAN overlay beside wgsteer that takes the pods' routes over.
func (s *scene) overlay() {
	for i, n := range s.Nodes {
		other := s.Nodes[1-i]
		s.ip(n, "link", "add", "vx0", "type", "vxlan", "id", "77", "dstport", "4789", "local", n.IPs[0].String(), "remote", other.IPs[0].String())
	}
	s.moveRoutes("vx0")
}

func (s *scene) deleteClsact() {
	if out, err := s.a().Command(s.t.Context(), "tc", "qdisc", "delete", "dev", "eth0", "clsact").CombinedOutput(); err != nil {
		s.t.Fatalf("delete the clsact qdisc: %v\n%s", err, out)
	}
}

// detach takes the link of a pin off a device of node-a, "" for the tunnel device; by
// clsact, the filter that stands for it.
func (s *scene) detach(device, pin string) {
	s.t.Helper()
	if device == "" {
		device = s.a().Interface
	}
	if s.by == clsact {
		s.removeFilter(device, pin)
		return
	}
	var index int
	err := s.a().Do(func() error {
		i, err := net.InterfaceByName(device)
		if err == nil {
			index = i.Index
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.detachPin(filepath.Join(s.pins(), "links", fmt.Sprintf("%d-%s", index, pin)))
}

func (s *scene) detachPin(path string) {
	s.t.Helper()
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	if err := l.Detach(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) detachAll() {
	for _, pin := range []string{"egress-steer", "egress-guard", "ingress-guard"} {
		s.detach("eth0", pin)
	}
}
