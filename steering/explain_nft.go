package steering

// tableSeen is what matters of our nftables table.
type tableSeen struct {
	name   string // "": it is not there, or has other rules
	strict bool
	spared map[int]bool // devices that it leaves to the programs
}

// refuses says whether the table drops what the class table would not let pass
// in plaintext, on a device.
func (s tableSeen) refuses(device int) bool {
	return s.name != "" && s.strict && !s.spared[device]
}

// tableLayer says whether the table would catch a packet on its route.
func (s scene) tableLayer() Layer {
	table := Layer{Name: "nftables", Detail: s.table.name + " is for devices without programs"}
	switch {
	case s.table.name == "":
		table.Detail = "no nftables table of ours, with our rules"
	case !s.table.strict:
		table.Detail = s.table.name + " only counts: the policy is permissive"
	case s.route.Type != "unicast":
		table.There, table.Detail = true, s.table.name+", on devices without programs"
	case s.table.refuses(s.out.index):
		table.There, table.Detail = true, s.table.name+", on "+s.out.name
	}
	return table
}
