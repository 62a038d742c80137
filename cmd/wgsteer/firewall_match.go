package main

import (
	"encoding/json"
	"strconv"
)

// datagram is the first one of a peer's handshake, as far as its route does
// not matter: where it comes from, and through which device, is not known.
type datagram struct {
	version int // 4 or 6
	dport   uint16
}

// truth has a third value: many matches depend on what is not known.
type truth int

const (
	no truth = iota
	yes
	unknown
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// match evaluates one match of a rule.
func (d datagram) match(body json.RawMessage) truth {
	var m struct {
		Op          string
		Left, Right json.RawMessage
	}
	if json.Unmarshal(body, &m) != nil {
		return unknown
	}
	t := d.equal(m.Left, m.Right)
	if t == unknown {
		return unknown
	}
	switch m.Op {
	case "==", "in":
		return t
	case "!=":
		var left property
		if json.Unmarshal(m.Left, &left) == nil && !left.of(d) {
			return no
		}
		return yes - t
	}
	return unknown // <, >, bits
}

// property is what the left side of a match asks a packet for.
type property struct {
	Payload struct{ Protocol, Field string }
	Meta    struct{ Key string }
	CT      struct{ Key string }
}

// of reports whether the datagram has such a property: to ask for a header
// includes that the packet has it.
func (p property) of(d datagram) bool {
	switch p.Payload.Protocol {
	case "ip":
		return d.version == 4
	case "ip6":
		return d.version == 6
	case "", "udp", "th", "ether", "vlan":
		return true
	}
	return false
}

// equal says whether a property has a value, or one of a list, set or range.
func (d datagram) equal(left, right json.RawMessage) truth {
	var p property
	if json.Unmarshal(left, &p) != nil {
		return unknown
	}
	if !p.of(d) {
		return no
	}
	switch p.Payload.Protocol + " " + p.Payload.Field {
	case "udp dport", "th dport":
		return portIn(right, d.dport)
	case "ip protocol", "ip6 nexthdr":
		return wordIn(right, "udp", "17")
	}
	switch p.Meta.Key {
	case "l4proto":
		return wordIn(right, "udp", "17")
	case "nfproto":
		return wordIn(right, "ipv"+strconv.Itoa(d.version))
	case "protocol":
		return wordIn(right, map[int]string{4: "ip", 6: "ip6"}[d.version])
	case "iifname", "iif", "oifname", "oif":
		if wordIn(right, "lo") == yes {
			return no // a peer is on another host
		}
	}
	if p.CT.Key == "state" {
		return wordIn(right, "new")
	}
	return unknown
}

// portIn says whether a number, a range or a set of them holds port. Named
// sets ("@name") are unknown.
func portIn(value json.RawMessage, port uint16) truth {
	return anyOf(value, func(v json.RawMessage) truth {
		var n int
		if json.Unmarshal(v, &n) == nil {
			return truthOf(n == int(port))
		}
		var r struct{ Range []int }
		if json.Unmarshal(v, &r) == nil && len(r.Range) == 2 {
			return truthOf(r.Range[0] <= int(port) && int(port) <= r.Range[1])
		}
		return unknown
	})
}

// wordIn says whether a word, or a list or set of them, is one of words.
func wordIn(value json.RawMessage, words ...string) truth {
	return anyOf(value, func(v json.RawMessage) truth {
		var s string
		var n int
		switch {
		case json.Unmarshal(v, &s) == nil:
		case json.Unmarshal(v, &n) == nil:
			s = strconv.Itoa(n)
		default:
			return unknown
		}
		if len(s) > 0 && s[0] == '@' {
			return unknown
		}
		for _, w := range words {
			if s == w {
				return yes
			}
		}
		return no
	})
}

// anyOf asks of a value, or of each member of a list or a set.
func anyOf(value json.RawMessage, is func(json.RawMessage) truth) truth {
	var set struct{ Set []json.RawMessage }
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		if json.Unmarshal(value, &set) != nil || set.Set == nil {
			return is(value)
		}
		list = set.Set
	}
	t := no
	for _, v := range list {
		switch is(v) {
		case yes:
			return yes
		case unknown:
			t = unknown
		}
	}
	return t
}
