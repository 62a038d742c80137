package keymgr

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"github.com/wgsteer/wgsteer/wgkey"
)

// MaxName is the greatest length of a node's name, in bytes. File names have
// to hold it.
const MaxName = 200

// CheckName wants a name that is safe as a file's: letters, digits, '.', '_'
// and '-', the first of them a letter or digit.
func CheckName(name string) error {
	const alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	switch {
	case name == "":
		return errors.New("a node needs a name")
	case len(name) > MaxName:
		return fmt.Errorf("%s has %d characters; a node's name has at most %d", Quote(name), len(name), MaxName)
	case strings.Trim(name[:1], alnum) != "":
		return fmt.Errorf("%s: a node's name begins with a letter or a digit", Quote(name))
	case strings.Trim(name, alnum+"._-") != "":
		return fmt.Errorf("%s: a node's name has only letters, digits, '.', '_' and '-'", Quote(name))
	}
	return nil
}

// IsReason reports whether s may be a Node's BackendReason: text of one line, and no
// longer than MaxReason.
func IsReason(s string) bool {
	return len(s) <= MaxReason && !strings.ContainsFunc(s, unicode.IsControl)
}

// ParsePublicKey reads a key as wg(8) prints it. What is far too long for one is not
// decoded, and shown in part.
func ParsePublicKey(s string) (wgkey.PublicKey, error) {
	if len(s) > 2*wgkey.Size {
		return wgkey.PublicKey{}, fmt.Errorf("%s is not a public key: expected the 44 characters that wg prints", Quote(s))
	}
	return wgkey.ParsePublicKey(s)
}

// ParseEndpoint reads where a tunnel listens: 192.0.2.1:51871 or
// [2001:db8::1]:51871. A host name is refused: who would look it up again?
func ParseEndpoint(s string) (netip.AddrPort, error) {
	ep, err := netip.ParseAddrPort(s)
	if err != nil {
		return ep, fmt.Errorf("%s is not an IP address and port such as 192.0.2.1:51871 or [2001:db8::1]:51871; host names are not looked up", Quote(s))
	}
	if ep.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("%s: port 0 cannot be reached", Quote(s))
	}
	if ep.Addr().Is4In6() {
		return netip.AddrPort{}, fmt.Errorf("%s is IPv4 in the form of IPv6; write %s", Quote(s), netip.AddrPortFrom(ep.Addr().Unmap(), ep.Port()))
	}
	if why := notUnicast(ep.Addr()); why != "" {
		return netip.AddrPort{}, fmt.Errorf("%s: %s", Quote(s), why)
	}
	return ep, nil
}

// ParseNodeIP reads an address of a node that other nodes can reach.
func ParseNodeIP(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return ip, fmt.Errorf("%s is not an IP address", Quote(s))
	}
	if ip.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%s is IPv4 in the form of IPv6; write %s", Quote(s), ip.Unmap())
	}
	why := notUnicast(ip)
	switch {
	case why != "":
	case ip.IsLoopback():
		why = "a loopback address reaches no other node"
	case ip.IsLinkLocalUnicast():
		why = "a link-local address is not unique among the nodes"
	default:
		return ip, nil
	}
	return netip.Addr{}, fmt.Errorf("%s: %s", Quote(s), why)
}

// notUnicast says why an address can be no node's, "" if it can.
func notUnicast(ip netip.Addr) string {
	switch {
	case ip.Zone() != "":
		return "a zone means nothing on other nodes"
	case ip.IsUnspecified():
		return "the unspecified address is no node's"
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "a multicast or broadcast address is no node's"
	}
	return ""
}

// ParsePodCIDR reads a prefix of pods. It has to be masked, so that nobody
// wonders whether 10.244.1.5/24 meant one pod.
func ParsePodCIDR(s string) (netip.Prefix, error) { return parseCIDR(s, "pod", "10.244.1.0/24") }

// ParseNodeCIDR reads a prefix of nodes, by the same rules.
func ParseNodeCIDR(s string) (netip.Prefix, error) { return parseCIDR(s, "node", "192.0.2.0/24") }

func parseCIDR(s, whose, example string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%s is not an IP prefix such as %s", Quote(s), example)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%s holds all of IPv4; write IPv4 and IPv6 prefixes apart", Quote(s))
		}
		plain := netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
		return netip.Prefix{}, fmt.Errorf("%s is IPv4 in the form of IPv6; write %s", Quote(s), plain)
	}
	if p.Bits() == 0 {
		return netip.Prefix{}, fmt.Errorf("%s: the default route is no %s CIDR", Quote(s), whose)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has host bits; write %s", Quote(s), p.Masked())
	}
	for _, r := range reserved() {
		if r.Overlaps(p) {
			return netip.Prefix{}, fmt.Errorf("%s overlaps %s, which no %s can have", Quote(s), r, whose)
		}
	}
	return p, nil
}

// reserved are loopback, link-local, multicast and reserved addresses
// (RFC 1122 section 3.2.1.3, RFC 3927, RFC 4291 section 2.4), and IPv4-mapped
// ones, which never occur on the wire.
func reserved() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("224.0.0.0/3"),
		netip.MustParsePrefix("::/127"),
		netip.MustParsePrefix("::ffff:0:0/96"),
		netip.MustParsePrefix("fe80::/10"),
		netip.MustParsePrefix("ff00::/8"),
	}
}

// Quote is how messages show a value that somebody wrote: in quotes, and cut
// off after 64 bytes.
func Quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
