package steering

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
)

// InspectTable reads our nftables table, and the names of the others.
func InspectTable(options Options) (found InspectedTable, err error) {
	o, err := options.validated()
	if err != nil {
		return found, err
	}
	h := o.nft()
	found.Name = h.String()
	read, err := h.read()
	if err != nil {
		return found, fmt.Errorf("read nftables %v: %w", h, err)
	}
	found.Exists, found.Damage = read.exists, read.damage
	conn, err := h.dial()
	if err != nil {
		return found, err
	}
	defer conn.CloseLasting()
	tables, err := conn.ListTables()
	if err != nil {
		return found, fmt.Errorf("list the nftables tables: %w", explainNftRead(err))
	}
	for _, t := range tables {
		if t.Name != h.table.Name || t.Family != h.table.Family {
			found.Others = append(found.Others, familyName(t.Family)+" "+t.Name)
		}
	}
	if !read.exists {
		return found, nil
	}
	found.Sets = map[string][]string{}
	for _, s := range nftSets(h.table) {
		for e := range read.sets[s.Name] {
			found.Sets[s.Name] = append(found.Sets[s.Name], e.text(s.Name))
		}
		slices.Sort(found.Sets[s.Name])
	}
	if found.Rules, err = h.comments(conn); err != nil {
		return found, err
	}
	found.Counters, err = h.counters(conn)
	return found, err
}

// comments are what the rules say of themselves, by chain.
func (h nftHost) comments(conn *nftables.Conn) (map[string][]string, error) {
	texts := map[string][]string{}
	for _, chain := range nftChains(h.table) {
		rules, err := conn.GetRules(h.table, chain)
		if err != nil {
			return texts, fmt.Errorf("list the rules of chain %s: %w", chain.Name, err)
		}
		for _, r := range rules {
			text, ok := userdata.GetString(r.UserData, userdata.TypeComment)
			if !ok {
				text = "(a rule without a comment: not ours)"
			}
			texts[chain.Name] = append(texts[chain.Name], fmt.Sprintf("handle %d: %s", r.Handle, text))
		}
	}
	return texts, nil
}

func (h nftHost) counters(conn *nftables.Conn) ([]InspectedCounter, error) {
	objects, err := conn.GetObjects(h.table)
	if err != nil {
		return nil, fmt.Errorf("list the counters: %w", err)
	}
	var all []InspectedCounter
	for _, object := range objects {
		if c, ok := object.(*nftables.CounterObj); ok {
			all = append(all, InspectedCounter{c.Name, c.Packets, c.Bytes})
		}
	}
	return all, nil
}

// text is an element as people read it: a device's index, an address, or a range up to
// the address before its end.
func (e nftElement) text(set string) string {
	if set == nftSteered {
		if len(e.key) != 4 {
			return fmt.Sprintf("%x", e.key)
		}
		return fmt.Sprintf("device %d", binary.NativeEndian.Uint32([]byte(e.key)))
	}
	from, ok := netip.AddrFromSlice([]byte(e.key))
	if !ok {
		return fmt.Sprintf("%x", e.key)
	}
	if end, ok := netip.AddrFromSlice([]byte(e.end)); ok {
		return from.String() + "-" + end.Prev().String()
	}
	return from.String()
}

func familyName(f nftables.TableFamily) string {
	names := map[nftables.TableFamily]string{
		nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
		nftables.TableFamilyARP: "arp", nftables.TableFamilyNetdev: "netdev", nftables.TableFamilyBridge: "bridge",
	}
	if name := names[f]; name != "" {
		return name
	}
	return fmt.Sprintf("family %d", f)
}
