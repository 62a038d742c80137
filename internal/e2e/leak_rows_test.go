package e2e_test

// rows is the matrix. All happens on node-a, or to it, unless a row says else.
func rows(by mechanism) []row {
	pins := map[mechanism]string{tcx: "guard on the egress of eth0", clsact: "pin of map prefixes"}[by]
	all := []row{
		{name: "reboot: guard unit, the network, pods, then the daemon", late: true, dead: true, fault: (*scene).reboot, mend: (*scene).startA, mending: "the daemon's start"},
		{name: "first start, from the state guarding on", late: true, fault: (*scene).firstStart},
		{name: "daemon killed (-9)", dead: true, fault: (*scene).killA, mend: (*scene).startA, mending: "its start"},
		{name: "daemon stopped (SIGTERM)", dead: true, fault: (*scene).stopA, mend: (*scene).startA, mending: "its start"},
		{name: "daemon crash-looping", fault: (*scene).crashLoop},
		{name: "TUN device deleted", fault: (*scene).deleteTUN},
		{name: "TUN device set down", fault: (*scene).setTUNDown},
		{name: "TUN without a process, ignore_routes_with_linkdown=1", dead: true, astray: true, before: (*scene).killA, world: (*scene).removeRoutes,
			fault: (*scene).ignoreLinkdown, mend: (*scene).startWithoutTUN, mending: "its start"},
		{name: "pins deleted", fault: (*scene).deletePins, repaired: pins},
		{name: "pins deleted, then the daemon killed", dead: true, fault: func(s *scene) { s.killWithoutPins() }, mend: (*scene).startA, mending: "its start"},
		{name: "routes flushed", fault: (*scene).flushRoutes, repaired: "route to 10.244.2.0/24"},
		{name: "routes flushed, daemon killed", dead: true, fault: func(s *scene) { s.killA(); s.flushRoutes() }, mend: (*scene).startA, mending: "its start"},
		{name: "nftables table flushed", fault: (*scene).flushTable, repaired: "table inet wgsteer-"},
		{name: "nftables table deleted", fault: (*scene).deleteTable, repaired: "table inet wgsteer-"},
		{name: "nftables table deleted, daemon killed", dead: true, before: (*scene).killA, fault: (*scene).deleteTable, mend: (*scene).startA, mending: "its start"},
		{name: "new uplink with the pods' routes", world: (*scene).newUplink},
		{name: "new uplink with the pods' routes, daemon killed", dead: true, before: (*scene).killA, world: (*scene).newUplink, mend: (*scene).startA, mending: "its start"},
		{name: "CNI's routes lead to the gateway", astray: true, world: (*scene).routeToGateway},
		{name: "CNI's routes removed, daemon killed", dead: true, astray: true, before: (*scene).killA, world: (*scene).removeRoutes, mend: (*scene).startA, mending: "its start"},
		{name: "peer's record removed, peer down", dead: true, fault: (*scene).removeRecord, mend: (*scene).startB, mending: "the peer's start"},
		{name: "peer's record without a key, peer down", dead: true, fault: (*scene).recordWithoutKey, mend: (*scene).startB, mending: "the peer's start"},
		{name: "peer that never had a key", late: true, dead: true, fault: (*scene).keylessPeer, mend: (*scene).startB, mending: "the peer's start"},
		{name: "key file corrupt at a start", fault: (*scene).corruptKey},
		{name: "state directory full at a start", fault: (*scene).fullStateDir, degraded: "claims: "},
		{name: "reload of a wrong configuration", fault: (*scene).wrongReload},
		{name: "overlay started beside it", world: (*scene).overlay},
		{name: "overlay started beside it, daemon killed", dead: true, before: (*scene).killA, world: (*scene).overlay, mend: (*scene).startA, mending: "its start"},
	}
	what := map[mechanism]string{tcx: "tcx link", clsact: "filter"}[by]
	for _, program := range []struct{ name, device, pin, part string }{
		{"steer", "eth0", "egress-steer", "steer on the egress of eth0"},
		{"guard at egress", "eth0", "egress-guard", "guard on the egress of eth0"},
		{"guard at ingress", "eth0", "ingress-guard", "guard on the ingress of eth0"},
		{"guard at the tunnel's egress", "", "egress-guard", "guard on the egress of wg-"},
		{"guard at the tunnel's ingress", "", "ingress-guard", "guard on the ingress of wg-"},
	} {
		detach := func(s *scene) { s.detach(program.device, program.pin) }
		name := what + " removed: " + program.name
		all = append(all, row{name: name, fault: detach, repaired: program.part})
		if program.device != "" {
			all = append(all, row{name: name + ", daemon killed", dead: true, before: (*scene).killA, fault: detach, mend: (*scene).startA, mending: "its start"})
		}
	}
	if by == clsact {
		return append(all,
			row{name: "clsact qdisc removed", gap: true, fault: (*scene).deleteClsact, repaired: "guard on the egress of eth0"},
			row{name: "clsact qdisc removed, daemon killed", gap: true, dead: true, before: (*scene).killA, fault: (*scene).deleteClsact, mend: (*scene).startA, mending: "its start"})
	}
	return append(all,
		row{name: "clsact qdisc removed", fault: (*scene).deleteClsact, repaired: "backstop on the egress of eth0"},
		row{name: "all tcx links removed, daemon killed", dead: true, before: (*scene).killA, fault: (*scene).detachAll, mend: (*scene).startA, mending: "its start"})
}
