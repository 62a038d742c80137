package main

import (
	"encoding/json"
	"fmt"
)

// ruleset is the filter chains of `nft -j list ruleset`, libnftables-json(5);
// iptables' rules are among them unless they are the old kind's.
type ruleset struct {
	chains map[chainID]*chain
	bases  []*chain // those with a hook, in the order of the listing
}

type chainID struct{ family, table, name string }

func (id chainID) String() string { return id.family + " " + id.table + " " + id.name }

type chain struct {
	id           chainID
	hook, policy string
	rules        [][]map[string]json.RawMessage // expressions, each of one kind
}

// parseRuleset reads the filter chains of the IP families.
func parseRuleset(text []byte) (*ruleset, error) {
	type object struct {
		Chain *struct{ Family, Table, Name, Type, Hook, Policy string }
		Rule  *struct {
			Family, Table, Chain string
			Expr                 []map[string]json.RawMessage
		}
	}
	var listing struct{ Nftables []object }
	if err := json.Unmarshal(text, &listing); err != nil {
		return nil, fmt.Errorf("understand nft's listing: %w", err)
	}
	set := &ruleset{chains: map[chainID]*chain{}}
	for _, o := range listing.Nftables {
		switch {
		case o.Chain != nil:
			c := &chain{id: chainID{o.Chain.Family, o.Chain.Table, o.Chain.Name}, hook: o.Chain.Hook, policy: o.Chain.Policy}
			set.chains[c.id] = c
			if o.Chain.Type == "filter" {
				set.bases = append(set.bases, c)
			}
		case o.Rule != nil:
			if c := set.chains[chainID{o.Rule.Family, o.Rule.Table, o.Rule.Chain}]; c != nil {
				c.rules = append(c.rules, o.Rule.Expr)
			}
		}
	}
	return set, nil
}

// outcome is a set of what may become of a packet.
type outcome uint8

const (
	accepted outcome = 1 << iota
	dropped
	goesOn   // to the next rule
	returned // to the chain that jumped here
	anything = accepted | dropped | goesOn | returned
)

// maxJumps bounds a ruleset that was changed while it was listed; nft itself
// allows 16.
const maxJumps = 16

// judge says what a base chain does with a datagram.
func (r *ruleset) judge(base *chain, d datagram) outcome {
	if f := base.id.family; f != "inet" && (f == "ip") != (d.version == 4) {
		return accepted
	}
	o := r.follow(base, d, 0)
	if o&goesOn != 0 {
		o &^= goesOn
		if base.policy == "drop" {
			return o | dropped
		}
		return o | accepted
	}
	return o
}

// follow never returns returned: for the caller that is to go on.
func (r *ruleset) follow(c *chain, d datagram, depth int) outcome {
	var possible outcome
	for _, rule := range c.rules {
		o, certain := r.rule(c.id, rule, d, depth)
		if o&returned != 0 {
			possible |= goesOn
		}
		possible |= o & (accepted | dropped)
		if certain && o&goesOn == 0 {
			return possible
		}
	}
	return possible | goesOn
}

// rule returns what a rule may do. It is certain where all its matches are
// understood and met; otherwise it may as well do nothing.
func (r *ruleset) rule(in chainID, rule []map[string]json.RawMessage, d datagram, depth int) (o outcome, certain bool) {
	certain = true
	for _, expr := range rule {
		for kind, body := range expr {
			switch kind {
			case "match":
				switch d.match(body) {
				case no:
					return goesOn, true
				case unknown:
					certain = false
				}
			case "counter", "log", "comment":
			case "limit":
				certain = false
			case "vmap":
				o, known := r.verdictMap(in, body, d, depth)
				if !known || o != goesOn {
					return o, certain && known
				}
			case "xt":
				if o, target := xtVerdict(body); !target {
					certain = false // one of iptables' own matches
				} else if o != goesOn {
					return o, certain
				}
			default:
				return r.verdict(in, kind, body, d, depth), certain
			}
		}
	}
	return goesOn, certain
}

func (r *ruleset) verdict(in chainID, kind string, body json.RawMessage, d datagram, depth int) outcome {
	switch kind {
	case "accept":
		return accepted
	case "drop", "reject":
		return dropped
	case "continue":
		return goesOn
	case "return":
		return returned
	case "jump":
		return r.jump(in, body, d, depth)
	case "goto":
		o := r.jump(in, body, d, depth)
		if o&goesOn != 0 { // it does not come back here
			o = o&^goesOn | returned
		}
		return o
	}
	return anything // queues, flow tables and what is to come
}

// verdictMap looks the datagram up; known is false where it cannot tell.
func (r *ruleset) verdictMap(in chainID, body json.RawMessage, d datagram, depth int) (o outcome, known bool) {
	var m struct {
		Key  json.RawMessage
		Data struct{ Set [][2]json.RawMessage }
	}
	if json.Unmarshal(body, &m) != nil || m.Data.Set == nil {
		return anything, false
	}
	for _, element := range m.Data.Set {
		switch d.equal(m.Key, element[0]) {
		case no:
			continue
		case unknown:
			return anything, false
		}
		var verdict map[string]json.RawMessage
		if json.Unmarshal(element[1], &verdict) != nil || len(verdict) != 1 {
			return anything, false
		}
		for kind, body := range verdict {
			return r.verdict(in, kind, body, d, depth), true
		}
	}
	return goesOn, true
}

func (r *ruleset) jump(in chainID, body json.RawMessage, d datagram, depth int) outcome {
	var to struct{ Target string }
	if json.Unmarshal(body, &to) != nil || depth == maxJumps {
		return anything
	}
	target := r.chains[chainID{in.family, in.table, to.Target}]
	if target == nil {
		return anything
	}
	return r.follow(target, d, depth+1)
}

// xtVerdict understands iptables' targets that nft lists as foreign.
func xtVerdict(body json.RawMessage) (o outcome, target bool) {
	var xt struct{ Type, Name string }
	if json.Unmarshal(body, &xt) != nil || xt.Type != "target" {
		return 0, false
	}
	switch xt.Name {
	case "REJECT":
		return dropped, true
	case "LOG", "NFLOG":
		return goesOn, true
	}
	return anything, true
}
