package steering_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/wgsteer/wgsteer/steering"
)

// TestCheckLayers: what of the guard is missing, and what is left over, is found and
// named.
func TestCheckLayers(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		wantFinding(t, o, "layers", steering.Warn, "none is there")
		wantFinding(t, o, "policy", "", "")
		wantFinding(t, o, "leftovers", "", "")
		_, index := openTUN(t, o.Name)
		s := start(t, o)
		apply(t, s, steered(index))
		wantFinding(t, o, "layers", steering.OK, "every layer")
		wantFinding(t, o, "policy", steering.OK, "strict")
		permissive := steered(index)
		permissive.Strict = false
		apply(t, s, permissive)
		wantFinding(t, o, "policy", steering.Warn, "permissive is in force")
		apply(t, s, steered(index))
		other := o
		other.Name = "wgt1"
		wantFinding(t, other, "leftovers", "", "pins of another") // it runs
		stop(t, s)
		wantFinding(t, o, "layers", steering.OK, "every layer")
		wantFinding(t, other, "leftovers", steering.Warn, "pins of another tunnel device, wgt0")

		removeOurRoutes(t)
		deleteClsact(t, "eth0")
		if !byClsact(o) {
			wantFinding(t, o, "layers", steering.Fail, "missing: backstop on the egress of eth0, backstop on the ingress of eth0, route to 10.244.0.0/16, ")
			detachLink(t, filepath.Join(o.BPFFS, o.Name, "links", fmt.Sprintf("%d-egress-guard", byName(t, "eth0").Attrs().Index)))
		}
		wantFinding(t, o, "layers", steering.Fail, "guard on the egress of eth0")
		wantFinding(t, o, "layers", steering.Fail, "route to 10.244.2.0/24")
		wantFinding(t, o, "layers", steering.Fail, "unreachable route to 10.244.0.0/16")

		s = start(t, o)
		apply(t, s, steered(index))
		stop(t, s)
		if err := os.RemoveAll(filepath.Join(o.BPFFS, o.Name)); err != nil {
			t.Fatal(err)
		}
		wantFinding(t, o, "leftovers", steering.Warn, "unreachable route to")
		wantFinding(t, o, "layers", "", "")
		if _, err := steering.Teardown(o); err != nil {
			t.Fatal(err)
		}
		wantFinding(t, o, "leftovers", "", "")
	})
}

// TestCheckTunnel: what belongs to the tunnel device is looked for while there is one.
func TestCheckTunnel(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		tun, index := openTUN(t, o.Name)
		again := func() {
			t.Helper()
			s := start(t, o)
			apply(t, s, steered(index))
			stop(t, s)
			wantFinding(t, o, "layers", steering.OK, "every layer")
		}
		links := filepath.Join(o.BPFFS, o.Name, "links")
		for _, test := range []struct {
			name, missing string
			take          func() error
		}{
			{"a peer's route", "missing: route to 10.244.2.0/24", func() error {
				_, dst, _ := net.ParseCIDR("10.244.2.0/24")
				return netlink.RouteDel(&netlink.Route{Dst: dst, LinkIndex: index, Priority: 4294967294, Scope: netlink.SCOPE_LINK})
			}},
			{"an address", "missing: address 2001:db8::1/128", func() error {
				a, _ := netlink.ParseAddr("2001:db8::1/128")
				return netlink.AddrDel(byName(t, o.Name), a)
			}},
			{"the qdisc", "ingress of wgt0", func() error { deleteClsact(t, o.Name); return nil }},
			{"a guard", "missing: guard on the ingress of wgt0", func() error {
				if byClsact(o) {
					deleteClsact(t, o.Name)
					return nil
				}
				detachLink(t, filepath.Join(links, fmt.Sprintf("%d-ingress-guard", index)))
				return nil
			}},
		} {
			again()
			if err := test.take(); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			wantFinding(t, o, "layers", steering.Fail, test.missing)
		}
		again()
		if err := tun.Close(); err != nil {
			t.Fatal(err)
		}
		wantFinding(t, o, "layers", steering.OK, "every layer") // of the guard
	})
}

// TestCheckPins: one map's pin that is gone is named as that, and by explain too.
func TestCheckPins(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		for _, name := range []string{"prefixes", "settings", "peer_names", "peers", "verdicts"} {
			s := start(t, o)
			apply(t, s, guard())
			stop(t, s)
			wantFinding(t, o, "layers", steering.OK, "every layer")
			if err := os.Remove(filepath.Join(o.BPFFS, o.Name, "maps", name)); err != nil {
				t.Fatal(err)
			}
			wantFinding(t, o, "layers", steering.Fail, "missing: pin of map "+name)
			wantFinding(t, o, "leftovers", "", "")
			wantFinding(t, o, "nftables", "", "left over")
		}
		if err := os.Remove(filepath.Join(o.BPFFS, o.Name, "maps", "settings")); err != nil {
			t.Fatal(err)
		}
		_, err := steering.Explain(o, podAddr, peerPod)
		if err == nil || errors.Is(err, steering.ErrNotPinned) || !strings.Contains(err.Error(), "the pin of map settings, the pin of map verdicts") {
			t.Errorf("explain says %v", err)
		}
	})
}

// wantFinding is that one of a name and level says text; no level: none does.
func wantFinding(t *testing.T, o steering.Options, name string, level steering.Level, text string) {
	t.Helper()
	found := steering.Check(o)
	at := slices.IndexFunc(found, func(f steering.Finding) bool { return f.Name == name && strings.Contains(f.Detail, text) })
	switch {
	case level == "" && at >= 0:
		t.Errorf("there is a finding %+v", found[at])
	case level == "":
	case at < 0 || found[at].Level != level || (level != steering.OK && found[at].Mend == ""):
		t.Errorf("no %s %s that says %q: %+v", name, level, text, found)
	}
}
