package bpf

import (
	"bytes"
	"fmt"
	"net/netip"
)

// The dimensions of the verdicts map, as in layout.h: room for more hooks and
// reasons than this version knows.
const (
	hookMax    = 8
	verdictMax = 4
	reasonMax  = 32
)

// Key is the key of prefix, which must be valid, in the prefixes map; the bits
// beyond its length are zero. An IPv6 prefix that contains ::ffff:0:0/96, as ::/0
// does, would hold all of IPv4 too.
func Key(prefix netip.Prefix) SteerPrefixKey {
	prefix = prefix.Masked()
	bits := prefix.Bits()
	if prefix.Addr().Is4() {
		bits += 96
	}
	return SteerPrefixKey{Prefixlen: uint32(bits), Addr: prefix.Addr().As16()}
}

// Prefix is what Key was made of: an IPv4 prefix where the key is a mapped one.
func (k SteerPrefixKey) Prefix() netip.Prefix {
	addr, bits := netip.AddrFrom16(k.Addr), int(k.Prefixlen)
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	return netip.PrefixFrom(addr, bits)
}

// PeerName is the value for name in the peer_names map, an error if it is
// empty, too long or has a zero byte.
func PeerName(name string) (SteerPeerName, error) {
	var value SteerPeerName
	if name == "" || len(name) > len(value.Name) || bytes.IndexByte([]byte(name), 0) >= 0 {
		return value, fmt.Errorf("peer name %q: want 1 to %d bytes, none of them zero", name, len(value.Name))
	}
	copy(value.Name[:], name)
	return value, nil
}

// String is the name without its padding.
func (n SteerPeerName) String() string {
	name, _, _ := bytes.Cut(n.Name[:], []byte{0})
	return string(name)
}

// Outcome is what the programs count by.
type Outcome struct {
	Hook    Hook
	Verdict Verdict
	Reason  Reason
}

// Index is the outcome's place in the verdicts map.
func (o Outcome) Index() uint32 {
	return (uint32(o.Hook)*verdictMax+uint32(o.Verdict))*reasonMax + uint32(o.Reason)
}

// Outcomes are all that this version can name, in the order of their index.
func Outcomes() []Outcome {
	var all []Outcome
	for hook := range hookTexts {
		for verdict := range verdictTexts {
			for reason := range reasonTexts {
				all = append(all, Outcome{Hook(hook), Verdict(verdict), Reason(reason)})
			}
		}
	}
	return all
}
