package keymgr_test

import (
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/keymgr"
)

func TestValues(t *testing.T) {
	long := strings.Repeat("x", 201)
	parsers := map[string]func(string) error{
		"name":      keymgr.CheckName,
		"endpoint":  func(s string) error { _, err := keymgr.ParseEndpoint(s); return err },
		"node IP":   func(s string) error { _, err := keymgr.ParseNodeIP(s); return err },
		"pod CIDR":  func(s string) error { _, err := keymgr.ParsePodCIDR(s); return err },
		"node CIDR": func(s string) error { _, err := keymgr.ParseNodeCIDR(s); return err },
	}
	const notEndpoint = " is not an IP address and port such as 192.0.2.1:51871 or [2001:db8::1]:51871; host names are not looked up"
	tests := []struct{ what, in, want string }{ // want "" for sound values
		{"name", "node-a", ""},
		{"name", "Ip-10-0-0-1.eu_west.example", ""},
		{"name", long[:200], ""},
		{"name", "", "a node needs a name"},
		{"name", long, `"` + long[:64] + `"... has 201 characters; a node's name has at most 200`},
		{"name", ".hidden", `".hidden": a node's name begins with a letter or a digit`},
		{"name", "-x", `"-x": a node's name begins with a letter or a digit`},
		{"name", "a/../b", `"a/../b": a node's name has only letters, digits, '.', '_' and '-'`},
		{"name", "a\nb", `"a\nb": a node's name has only letters, digits, '.', '_' and '-'`},
		{"name", "nöde", `"nöde": a node's name has only letters, digits, '.', '_' and '-'`},

		{"endpoint", "192.0.2.1:51871", ""},
		{"endpoint", "[2001:db8::1]:51871", ""},
		{"endpoint", "127.0.0.1:1", ""},
		{"endpoint", "", `""` + notEndpoint},
		{"endpoint", "node-a.example.com:51871", `"node-a.example.com:51871"` + notEndpoint},
		{"endpoint", "192.0.2.1", `"192.0.2.1"` + notEndpoint},
		{"endpoint", "2001:db8::1:51871", `"2001:db8::1:51871"` + notEndpoint},
		{"endpoint", "192.0.2.1:65536", `"192.0.2.1:65536"` + notEndpoint},
		{"endpoint", "192.0.2.1:0", `"192.0.2.1:0": port 0 cannot be reached`},
		{"endpoint", "[::ffff:192.0.2.1]:5", `"[::ffff:192.0.2.1]:5" is IPv4 in the form of IPv6; write 192.0.2.1:5`},
		{"endpoint", "0.0.0.0:5", `"0.0.0.0:5": the unspecified address is no node's`},
		{"endpoint", "[ff02::1]:5", `"[ff02::1]:5": a multicast or broadcast address is no node's`},
		{"endpoint", "255.255.255.255:5", `"255.255.255.255:5": a multicast or broadcast address is no node's`},
		{"endpoint", "[fe80::1%eth0]:5", `"[fe80::1%eth0]:5": a zone means nothing on other nodes`},

		{"node IP", "192.0.2.1", ""},
		{"node IP", "2001:db8::1", ""},
		{"node IP", "fd00::1", ""},
		{"node IP", "192.0.2.1/24", `"192.0.2.1/24" is not an IP address`},
		{"node IP", "192.0.2.01", `"192.0.2.01" is not an IP address`},
		{"node IP", "node-a", `"node-a" is not an IP address`},
		{"node IP", "::ffff:192.0.2.1", `"::ffff:192.0.2.1" is IPv4 in the form of IPv6; write 192.0.2.1`},
		{"node IP", "127.0.0.1", `"127.0.0.1": a loopback address reaches no other node`},
		{"node IP", "::1", `"::1": a loopback address reaches no other node`},
		{"node IP", "::", `"::": the unspecified address is no node's`},
		{"node IP", "224.0.0.1", `"224.0.0.1": a multicast or broadcast address is no node's`},
		{"node IP", "fe80::1", `"fe80::1": a link-local address is not unique among the nodes`},
		{"node IP", "169.254.1.1", `"169.254.1.1": a link-local address is not unique among the nodes`},
		{"node IP", "2001:db8::1%x", `"2001:db8::1%x": a zone means nothing on other nodes`},

		{"pod CIDR", "10.244.1.0/24", ""},
		{"pod CIDR", "10.244.1.5/32", ""},
		{"pod CIDR", "fd00:1::/64", ""},
		{"pod CIDR", "10.244.1.5/24", `"10.244.1.5/24" has host bits; write 10.244.1.0/24`},
		{"pod CIDR", "fd00::1/64", `"fd00::1/64" has host bits; write fd00::/64`},
		{"pod CIDR", "10.244.1.0", `"10.244.1.0" is not an IP prefix such as 10.244.1.0/24`},
		{"pod CIDR", "10.244.1.0/33", `"10.244.1.0/33" is not an IP prefix such as 10.244.1.0/24`},
		{"pod CIDR", "10.244.1.0/024", `"10.244.1.0/024" is not an IP prefix such as 10.244.1.0/24`},
		{"pod CIDR", "fe80::%eth0/64", `"fe80::%eth0/64" is not an IP prefix such as 10.244.1.0/24`},
		{"pod CIDR", "0.0.0.0/0", `"0.0.0.0/0": the default route is no pod CIDR`},
		{"pod CIDR", "::/0", `"::/0": the default route is no pod CIDR`},
		{"node CIDR", "::/0", `"::/0": the default route is no node CIDR`},
		{"node CIDR", "192.0.2.7/24", `"192.0.2.7/24" has host bits; write 192.0.2.0/24`},
		{"node CIDR", "fe80::/64", `"fe80::/64" overlaps fe80::/10, which no node can have`},
		{"node CIDR", "192.0.2.1", `"192.0.2.1" is not an IP prefix such as 192.0.2.0/24`},
		{"pod CIDR", "0.0.0.0/1", `"0.0.0.0/1" overlaps 0.0.0.0/8, which no pod can have`},
		{"pod CIDR", "127.0.0.0/16", `"127.0.0.0/16" overlaps 127.0.0.0/8, which no pod can have`},
		{"pod CIDR", "224.0.0.0/8", `"224.0.0.0/8" overlaps 224.0.0.0/3, which no pod can have`},
		{"pod CIDR", "169.254.0.0/24", `"169.254.0.0/24" overlaps 169.254.0.0/16, which no pod can have`},
		{"pod CIDR", "::1/128", `"::1/128" overlaps ::/127, which no pod can have`},
		{"pod CIDR", "ff02::/16", `"ff02::/16" overlaps ff00::/8, which no pod can have`},
		{"pod CIDR", "fe80::/64", `"fe80::/64" overlaps fe80::/10, which no pod can have`},
		{"pod CIDR", "::ffff:10.244.1.5/120", `"::ffff:10.244.1.5/120" is IPv4 in the form of IPv6; write 10.244.1.0/24`},
		{"pod CIDR", "::ffff:0.0.0.0/90", `"::ffff:0.0.0.0/90" holds all of IPv4; write IPv4 and IPv6 prefixes apart`},
	}
	for _, tt := range tests {
		got := ""
		if err := parsers[tt.what](tt.in); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s %q:\n got %s\nwant %s", tt.what, tt.in, got, tt.want)
		}
	}
}
