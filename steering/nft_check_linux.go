package steering

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkNft judges the table by the pins.
func checkNft(o Options) Finding {
	h := o.nft()
	found, err := h.read()
	if errors.Is(err, errNoNftables) {
		return Finding{
			Name: "nftables", Level: Fail, Detail: err.Error(),
			Mend: "modprobe nf_tables, or use a kernel that has it: without it nothing guards devices that are not steered",
		}
	}
	if err != nil {
		return failed("nftables", err)
	}
	name := h.String()
	pinned, err := o.readPins()
	switch {
	case errors.Is(err, ErrNotPinned) && found.exists:
		return Finding{Name: "nftables", Level: Warn, Detail: name + " is left over: nothing is pinned", Mend: "wgsteer teardown"}
	case errors.Is(err, ErrNotPinned):
		return Finding{Name: "nftables", Level: OK, Detail: "the kernel has nf_tables"}
	case errors.Is(err, errPinGone): // "layers" says so
		return Finding{
			Name: "nftables", Level: Warn, Detail: "what is to be in " + name + " is not known: " + err.Error(),
			Mend: mendLayers,
		}
	case err != nil:
		return failed("nftables", err)
	}
	net, err := readNetwork(o.RouteProtocol)
	if err != nil {
		return failed("nftables", err)
	}
	gone := 0 // the tunnel device of a process that was killed
	if !slices.ContainsFunc(net.devices, func(d device) bool { return d.index == pinned.index }) {
		gone = pinned.index
	}
	wrong, err := o.nftDifferences(found, pinned, net, gone)
	if err != nil {
		return failed("nftables", err)
	}
	if len(wrong) > 0 {
		return Finding{
			Name: "nftables", Level: Fail, Detail: name + " is not as it should be: " + strings.Join(wrong, ", "),
			Mend: "start wgsteer, which puts it in place, and keep other tools from changing it",
		}
	}
	if gone != 0 {
		return Finding{
			Name: "nftables", Level: Warn, Detail: fmt.Sprintf("%s guards the devices that are not steered, but not one that comes up as number %d, as which the tunnel device went when a process was killed", name, gone),
			Mend: "start wgsteer, or run `wgsteer guard`",
		}
	}
	return Finding{Name: "nftables", Level: OK, Detail: name + " guards the devices that are not steered"}
}

// nftDifferences says what of the table is not as the pinned maps and the
// attached programs want it. A device that is gone may still be in it.
func (o Options) nftDifferences(found nftFound, pinned scene, net network, gone int) ([]string, error) {
	if !found.exists {
		return []string{"it is missing"}, nil
	}
	if found.damage != "" {
		return []string{found.damage}, nil
	}
	steered := map[int]bool{}
	if gone != 0 {
		steered[gone] = true
	}
	for _, d := range net.devices {
		egress, err := o.programsOn(hook{d.index, false})
		ingress, err2 := o.programsOn(hook{d.index, true})
		if err := errors.Join(err, err2); err != nil {
			return nil, err
		}
		if egress.guarded() && ingress.guarded() && (egress[roleSteer] != "" || d.name == o.Name) {
			steered[d.index] = true
		}
	}
	want, err := nft(pinned.prefixes, net.spared(steered), podDevicesOf(o.Name, found.patterns), pinned.strict).encode(o.nft().table)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for chain, rules := range want.rules {
		if !slices.Equal(rules, found.rules[chain]) {
			wrong = append(wrong, "other rules in chain "+chain)
		}
	}
	for set, elements := range want.sets {
		if !maps.Equal(elements, found.sets[set]) {
			wrong = append(wrong, "other elements in set "+set)
		}
	}
	slices.Sort(wrong)
	return wrong, nil
}

// seeTable reads what Explain tells of the table.
func (o Options) seeTable(strict bool) (tableSeen, error) {
	h := o.nft()
	found, err := h.read()
	if err != nil && !errors.Is(err, errNoNftables) {
		return tableSeen{}, fmt.Errorf("read nftables %v: %w", h, err)
	}
	pods := podDevicesOf(o.Name, found.patterns)
	want, err := nftTable{strict: strict, pods: pods}.encode(h.table)
	if err != nil || !found.whole() || !found.sameRules(want) {
		return tableSeen{}, err
	}
	seen := tableSeen{name: h.String(), strict: strict, spared: map[int]bool{}, pods: pods}
	for e := range found.sets[nftSteered] {
		seen.spared[int(binary.NativeEndian.Uint32([]byte(e.key)))] = true
	}
	return seen, nil
}
