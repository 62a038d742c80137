package steering_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/steering"
)

// TestExplainedPackets: what Explain says of a packet is what is counted when it
// is sent.
func TestExplainedPackets(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		tun, index := openTUN(t, o.Name)
		apply(t, s, steered(index))
		for _, test := range []struct {
			name       string
			source, to netip.Addr
			gateway    string // of a route that a CNI would have; "" none
			want       string // hooks, verdict, reason, device, is the route ours
		}{
			{"by our route", podAddr, peerPod, "", "[tunnel_egress] encrypt to_remote_pod wgt0 true"},
			{"by our route, IPv6", podAddr6, peerPod6, "", "[tunnel_egress] encrypt to_remote_pod wgt0 true"},
			{"by the CNI's route", podAddr, peerPod, "192.0.2.2", "[egress tunnel_egress] encrypt to_remote_pod wgt0 false"},
			{"by the CNI's route, IPv6", podAddr6, peerPod6, "2001:db8::2", "[egress tunnel_egress] encrypt to_remote_pod wgt0 false"},
			{"to the peer's node", podAddr, peerNode, "", "[egress tunnel_egress] encrypt to_remote_node wgt0 false"},
			{"to an unknown pod", podAddr, unknownPod, "", "[tunnel_egress] drop unknown_peer wgt0 true"},
			{"to an unknown pod by the CNI's route", podAddr, unknownPod, "192.0.2.2", "[egress] drop unknown_peer eth0 false"},
		} {
			t.Run(test.name, func(t *testing.T) {
				if test.gateway != "" {
					defer removeRoute(t, addRoute(t, netip.PrefixFrom(test.to, test.to.BitLen()).String(), test.gateway))
				}
				e := explain(t, o, test.source, test.to)
				if got := text(e); got != test.want {
					t.Errorf("%+v:\n%s, want %s", e, got, test.want)
				}
				before := s.Status()
				send(t, n.pod, test.source, test.to, t.Name())
				for _, step := range e.Steps {
					grew(t, s, before, step.Hook, step.Verdict, step.Reason)
				}
			})
		}
		e := explain(t, o, peerPod, podAddr)
		if e.Direction != "in" || text(e) != "[ingress tunnel_ingress] pass to_local wgt0 false" || e.Peer != "node-b" {
			t.Errorf("from a peer's pod: %+v", e)
		}
		if e := explain(t, o, podAddr, nodeAddr); e.Direction != "here" || e.Route.Type != "local" {
			t.Errorf("to this node: %+v", e)
		}
		afterTheEnd(t, o, s, func() { tun.Close() })
	})
}

// afterTheEnd: the daemon dies, and later somebody takes the programs away.
func afterTheEnd(t *testing.T, o steering.Options, s *steering.Steering, closeTunnel func()) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	closeTunnel()
	eventually(t, func() string {
		if e := explain(t, o, podAddr, peerPod); text(e) != "[] drop no_route  false" || e.Route.Type != "unreachable" || !there(e, "unreachable_route") {
			return fmt.Sprintf("dead, without a route of the CNI's: %+v", e)
		}
		return ""
	})
	defer removeRoute(t, addRoute(t, "10.244.2.0/24", "192.0.2.2"))
	e := explain(t, o, podAddr, peerPod)
	if text(e) != "[egress] drop no_tunnel eth0 false" || e.Plaintext || !there(e, "guard") || there(e, "tunnel_route") {
		t.Errorf("dead, with one: %+v", e)
	}
	if !byClsact(o) {
		for _, role := range []string{"steer", "guard"} {
			removePin(t, o, role)
			if e := explain(t, o, podAddr, peerPod); text(e) != "[egress] drop no_tunnel eth0 false" && text(e) != "[egress] drop not_steered eth0 false" || !there(e, "backstop") {
				t.Errorf("without %s: %+v", role, e)
			}
		}
	}
	deleteClsact(t, "eth0")
	if e := explain(t, o, podAddr, peerPod); text(e) != "[] pass unguarded eth0 false" || !e.Plaintext || there(e, "guard") || there(e, "backstop") || !there(e, "unreachable_route") {
		t.Errorf("without its programs: %+v", e)
	}
}

// removePin takes the link of a program on the egress of eth0 away.
func removePin(t *testing.T, o steering.Options, role string) {
	t.Helper()
	pin := fmt.Sprintf("%d-egress-%s", byName(t, "eth0").Attrs().Index, role)
	if err := os.Remove(filepath.Join(o.BPFFS, o.Name, "links", pin)); err != nil {
		t.Fatal(err)
	}
}

// deleteClsact takes all filters of a device away.
func deleteClsact(t *testing.T, device string) {
	t.Helper()
	q := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{LinkIndex: byName(t, device).Attrs().Index,
		Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscDel(q); err != nil {
		t.Fatal(err)
	}
}

func explain(t *testing.T, o steering.Options, from, to netip.Addr) steering.Explanation {
	t.Helper()
	e, err := steering.Explain(o, from, to)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func text(e steering.Explanation) string {
	hooks := []string{}
	for _, s := range e.Steps {
		hooks = append(hooks, s.Hook)
	}
	return fmt.Sprintf("%v %s %s %s %v", hooks, e.Verdict, e.Reason, e.Device, e.Route.Ours)
}

func there(e steering.Explanation, layer string) bool {
	return slices.ContainsFunc(e.Layers, func(l steering.Layer) bool { return l.Name == layer && l.There })
}

// TestExplainWithoutPins: what outlived the pins is not denied.
func TestExplainWithoutPins(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		s := start(t, o)
		apply(t, s, guard())
		stop(t, s)
		if err := os.RemoveAll(filepath.Join(o.BPFFS, o.Name)); err != nil {
			t.Fatal(err)
		}
		_, err := steering.Explain(o, podAddr, peerPod)
		if !errors.Is(err, steering.ErrNotPinned) {
			t.Fatalf("explain says %v", err)
		}
		wantText(t, err.Error(), "nftables table inet wgsteer-wgt0")
	})
}

func TestExplainRefuses(t *testing.T) {
	privtest.Root(t)
	o := steering.Options{BPFFS: privtest.BPFFS(t), Name: "wgt0"}
	_, err := steering.Explain(o, podAddr, peerPod)
	if !errors.Is(err, steering.ErrNotPinned) || !strings.Contains(err.Error(), "no data plane has run") {
		t.Errorf("without a data plane: %v", err)
	}
	if _, err := steering.Explain(o, podAddr, peerPod6); err == nil || errors.Is(err, unix.EINVAL) {
		t.Errorf("two families: %v", err)
	}
}
