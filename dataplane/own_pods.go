package dataplane

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgsteer/wgsteer/keymgr"
)

// OwnPods is the Record of a Problem of this node itself that says which of its pods'
// prefixes cannot be used: what these pods send is steered by nobody.
const OwnPods = "podCIDRs"

// localAfter is what is known of this node once snapshot s is there, and before
// was known until then. A source that has lost the records, or has not found them
// yet, and tells nothing, takes nothing back.
func localAfter(before *keymgr.Local, s keymgr.Snapshot) *keymgr.Local {
	if s.Local == nil && s.Partial {
		return before
	}
	return s.Local
}

// ownPods are the prefixes of this node's pods: those configured, or else those
// that the source told which can be used. Each reason why others cannot is a
// problem.
func ownPods(c Config, nodeIPs []netip.Addr, local *keymgr.Local) (pods []netip.Prefix, problems []keymgr.Problem) {
	if len(c.PodCIDRs) > 0 || local == nil {
		return c.PodCIDRs, nil
	}
	refused := map[string][]netip.Prefix{}
	var reasons []string
	for _, p := range local.PodCIDRs {
		why := unfit(c, nodeIPs, p)
		if why == "" {
			pods = append(pods, p)
			continue
		}
		if refused[why] == nil {
			reasons = append(reasons, why)
		}
		refused[why] = append(refused[why], p)
	}
	for _, why := range reasons {
		problems = append(problems, keymgr.Problem{Node: c.Node, Record: OwnPods, Message: fmt.Sprintf(
			"%s, told by the source of node records, cannot be this node's pods: %s", someOf(refused[why]), why)})
	}
	return slices.Compact(pods), problems
}

// unfit says why p cannot hold this node's pods, and what to do; "" if it can.
func unfit(c Config, nodeIPs []netip.Addr, p netip.Prefix) string {
	if _, err := keymgr.ParsePodCIDR(p.String()); err != nil {
		return err.Error()
	}
	for _, a := range nodeIPs {
		if p.Contains(a) {
			return fmt.Sprintf("this node's own address %s lies within; give its pods other addresses, or name the node's in nodeIPs", a)
		}
	}
	if !c.holds(p) {
		return fmt.Sprintf("clusterCIDRs (%s) does not hold it; add a prefix there that does", join(c.ClusterCIDRs))
	}
	return ""
}

// someOf names a few of many: a problem is read by people.
func someOf(list []netip.Prefix) string {
	const most = 4
	if len(list) <= most {
		return join(list)
	}
	return fmt.Sprintf("%s and %d more", join(list[:most]), len(list)-most)
}
