package steering_test

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/wgsteer/wgsteer/steering"
)

// TestIngressQdisc: another tool's ingress qdisc is in the place of clsact. Where tcx
// is, only the backstop is missing, which Status tells, and traffic goes on; where
// clsact has to do, the error says what is in its place. Nothing of ours gets into it.
func TestIngressQdisc(t *testing.T) {
	byMechanism(t, func(t *testing.T, n node, o steering.Options) {
		tun, index := openTUN(t, o.Name)
		eth0 := byName(t, "eth0").Attrs().Index
		theirs := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: eth0, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
		if err := netlink.QdiscAdd(theirs); err != nil {
			t.Fatal(err)
		}
		s := start(t, o)
		err := s.Apply(t.Context(), steered(index))
		if byClsact(o) {
			if err == nil || !strings.Contains(err.Error(), "another tool's ingress qdisc") {
				t.Errorf("by clsact: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if why := s.Status().Failing; !strings.Contains(why, "backstop") || !strings.Contains(why, "another tool's ingress qdisc") {
			t.Errorf("failing: %q", why)
		}
		for _, parent := range []uint32{netlink.HANDLE_MIN_EGRESS, netlink.HANDLE_MIN_INGRESS} {
			if found := filterNames(t, "eth0", parent); len(found) > 0 {
				t.Errorf("filters of ours in the ingress qdisc: %v", found)
			}
		}
		route := addRoute(t, "10.244.2.0/24", "192.0.2.2")
		send(t, n.pod, podAddr, peerPod, "encrypted all the same")
		expect(t, tun, "encrypted all the same")
		removeRoute(t, route)
		if err := netlink.QdiscDel(theirs); err != nil {
			t.Fatal(err)
		}
		apply(t, s, steered(index))
		if why := s.Status().Failing; why != "" || len(filterNames(t, "eth0", netlink.HANDLE_MIN_EGRESS)) != 1 {
			t.Errorf("without that qdisc: failing %q, filters %v", why, filterNames(t, "eth0", netlink.HANDLE_MIN_EGRESS))
		}
	})
}
