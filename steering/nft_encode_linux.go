package steering

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// nftElement is an element of a set as the kernel has it: a key, and where a
// range ends, the first key behind it; "" for a range up to the last key.
type nftElement struct{ key, end string }

// nftEncoded is the table's variable part as the kernel has it, or should: what
// is compared. Rules are by chain, elements by set.
type nftEncoded struct {
	rules map[string][]string
	sets  map[string]map[nftElement]bool
}

// nftChains are the table's chains. Postrouting after all that rewrites sources
// (100 is SNAT, 300 the last conntrack helper), so that what counts are the
// addresses on the wire. Prerouting before raw (-300), conntrack and DNAT: the
// addresses are still those from the wire, and what is dropped leaves no trace.
func nftChains(table *nftables.Table) []*nftables.Chain {
	policy := nftables.ChainPolicyAccept
	chain := func(name string, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
		return &nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority, Policy: &policy}
	}
	return []*nftables.Chain{
		chain(nftEgress, nftables.ChainHookPostrouting, 1000),
		chain(nftIngress, nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw-10),
	}
}

// nftSets are the table's sets, without elements. Their IDs are those of a batch.
func nftSets(table *nftables.Table) []*nftables.Set {
	sets := []*nftables.Set{{
		Name: nftSteered, KeyType: nftables.TypeIFIndex, KeyByteOrder: binaryutil.NativeEndian,
		Comment: "devices with the programs, what they are ports of, and lo",
	}}
	for _, f := range []struct {
		suffix string
		key    nftables.SetDatatype
	}{{"4", nftables.TypeIPAddr}, {"6", nftables.TypeIP6Addr}} {
		sets = append(sets,
			&nftables.Set{Name: nftOtherPods + f.suffix, KeyType: f.key, Interval: true, Comment: "pods of the cluster but those of this node"},
			&nftables.Set{Name: nftLocalPods + f.suffix, KeyType: f.key, Interval: true, Comment: "pods of this node"},
			&nftables.Set{Name: nftRemoteNodes + f.suffix, KeyType: f.key, KeyByteOrder: binaryutil.BigEndian, Comment: "the peers' nodes, but those in node_cidrs"},
			&nftables.Set{Name: nftNodeCIDRs + f.suffix, KeyType: f.key, Interval: true, Comment: "the node CIDRs but this node's addresses"})
	}
	for i, s := range sets {
		s.Table, s.ID = table, uint32(i+1)
	}
	return sets
}

// encode is t as the kernel would have it.
func (t nftTable) encode(table *nftables.Table) (nftEncoded, error) {
	e := nftEncoded{rules: map[string][]string{}, sets: map[string]map[nftElement]bool{}}
	for _, r := range t.kernelRules(table) {
		text, err := encodeRule(r)
		if err != nil {
			return e, err
		}
		e.rules[r.Chain.Name] = append(e.rules[r.Chain.Name], text)
	}
	for _, s := range nftSets(table) {
		elements := map[nftElement]bool{}
		for _, r := range t.ranges[s.Name] {
			element := nftElement{key: string(r.from.AsSlice())}
			if s.Interval {
				element.end = string(r.to.Next().AsSlice()) // none after the last address
			}
			elements[element] = true
		}
		if s.Name == nftSteered {
			for index := range t.devices {
				elements[nftElement{key: string(binary.NativeEndian.AppendUint32(nil, uint32(index)))}] = true
			}
		}
		e.sets[s.Name] = elements
	}
	return e, nil
}

// kernelRules are t's rules in the kernel's terms.
func (t nftTable) kernelRules(table *nftables.Table) []*nftables.Rule {
	var rules []*nftables.Rule
	for _, r := range t.rules() {
		k := &nftables.Rule{
			Table: table, Chain: &nftables.Chain{Name: r.chain, Table: table},
			UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment),
		}
		known := false // which family it is
		for _, m := range r.match {
			switch m.field {
			case nftCameBy:
				k.Exprs = append(k.Exprs, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: namePattern(m.what)})
				continue
			case nftNotBy:
				k.Exprs = append(k.Exprs, &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: namePattern(m.what)})
				continue
			case nftSource, nftDestination:
				if !known {
					k.Exprs = append(k.Exprs, isFamily(m.what)...)
				}
				known = true
			}
			k.Exprs = append(k.Exprs, load(r.chain, m), &expr.Lookup{SourceRegister: 1, SetName: m.what})
		}
		if r.counter != "" {
			k.Exprs = append(k.Exprs, &expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: r.counter})
		}
		switch r.verdict {
		case nftAccept:
			k.Exprs = append(k.Exprs, &expr.Verdict{Kind: expr.VerdictAccept})
		case nftDrop:
			k.Exprs = append(k.Exprs, &expr.Verdict{Kind: expr.VerdictDrop})
		}
		rules = append(rules, k)
	}
	return rules
}

// isFamily lets packets of the set's family through: the table sees both.
func isFamily(set string) []expr.Any {
	family := byte(unix.NFPROTO_IPV4)
	if strings.HasSuffix(set, "6") {
		family = unix.NFPROTO_IPV6
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
	}
}

// load brings what a match asks for into register 1: the device, or an address by
// its place in the IPv4 or IPv6 header.
func load(chain string, m nftMatch) expr.Any {
	if m.field == nftDevice {
		if chain == nftIngress {
			return &expr.Meta{Key: expr.MetaKeyIIF, Register: 1}
		}
		return &expr.Meta{Key: expr.MetaKeyOIF, Register: 1}
	}
	offset, length := uint32(12), uint32(4)
	if strings.HasSuffix(m.what, "6") {
		offset, length = 8, 16
	}
	if m.field == nftDestination {
		offset += length
	}
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

// namePattern is what a device's name is compared with: all of a register, which
// ends in zeros, or as much as is before the *.
func namePattern(pattern string) []byte {
	if start, open := strings.CutSuffix(pattern, "*"); open {
		return []byte(start)
	}
	return append([]byte(pattern), make([]byte, unix.IFNAMSIZ-len(pattern))...)
}

// patternsIn are the patterns of a rule's nftNotBy.
func patternsIn(rule *nftables.Rule) (patterns []string) {
	for i := 1; i < len(rule.Exprs); i++ {
		loaded, isMeta := rule.Exprs[i-1].(*expr.Meta)
		compared, isCmp := rule.Exprs[i].(*expr.Cmp)
		if !isMeta || !isCmp || loaded.Key != expr.MetaKeyOIFNAME || compared.Op != expr.CmpOpNeq {
			continue
		}
		if len(compared.Data) < unix.IFNAMSIZ {
			patterns = append(patterns, string(compared.Data)+"*")
		} else {
			patterns = append(patterns, unix.ByteSliceToString(compared.Data))
		}
	}
	return patterns
}

// encodeRule is all of a rule but its handle and place.
func encodeRule(r *nftables.Rule) (string, error) {
	var b []byte
	for _, e := range r.Exprs {
		one, err := expr.Marshal(byte(r.Table.Family), e)
		if err != nil {
			return "", fmt.Errorf("encode a rule of chain %s: %w", r.Chain.Name, err)
		}
		b = append(b, one...)
	}
	return string(b) + string(r.UserData), nil
}

func (e nftElement) compare(other nftElement) int { return cmp.Compare(e.key, other.key) }

// kernelElements are elements as the library takes them: the end of a range right
// after its key.
func kernelElements(elements []nftElement) []nftables.SetElement {
	var all []nftables.SetElement
	for _, e := range elements {
		all = append(all, nftables.SetElement{Key: []byte(e.key)})
		if e.end != "" {
			all = append(all, nftables.SetElement{Key: []byte(e.end), IntervalEnd: true})
		}
	}
	return all
}

// ownElements is the reverse. An end without a key before it, which nft(8) puts
// in front of the first range, means nothing.
func ownElements(listed []nftables.SetElement) map[nftElement]bool {
	slices.SortFunc(listed, func(a, b nftables.SetElement) int {
		ends := map[bool]int{true: 0, false: 1} // one range may end where the next begins
		return cmp.Or(cmp.Compare(string(a.Key), string(b.Key)), cmp.Compare(ends[a.IntervalEnd], ends[b.IntervalEnd]))
	})
	all := map[nftElement]bool{}
	for i, e := range listed {
		if e.IntervalEnd {
			continue
		}
		element := nftElement{key: string(e.Key)}
		if i+1 < len(listed) && listed[i+1].IntervalEnd {
			element.end = string(listed[i+1].Key)
		}
		all[element] = true
	}
	return all
}

func (e nftEncoded) equal(other nftEncoded) bool {
	return e.sameRules(other) && maps.EqualFunc(e.sets, other.sets, maps.Equal)
}

func (e nftEncoded) sameRules(other nftEncoded) bool {
	return maps.EqualFunc(e.rules, other.rules, slices.Equal)
}
