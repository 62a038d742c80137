package bpf_test

import (
	"net/netip"

	"github.com/wgsteer/wgsteer/bpf"
)

// member is a prefix of the tests' cluster, and what it is.
type member struct {
	prefix netip.Prefix
	class  bpf.Class
	peer   uint32
}

// cluster has an IPv4 and an IPv6 prefix of each class, the longer inside the
// shorter as they are in life.
var cluster = []member{
	{netip.MustParsePrefix("10.244.0.0/16"), bpf.ClassCluster, 0},
	{netip.MustParsePrefix("10.244.1.0/24"), bpf.ClassLocalPod, 0},
	{netip.MustParsePrefix("10.244.2.0/24"), bpf.ClassRemotePod, 2},
	{netip.MustParsePrefix("10.244.3.0/24"), bpf.ClassRemotePod, 3},
	{netip.MustParsePrefix("192.0.2.1/32"), bpf.ClassLocalNode, 0},
	{netip.MustParsePrefix("192.0.2.2/32"), bpf.ClassRemoteNode, 2},
	{netip.MustParsePrefix("192.0.2.3/32"), bpf.ClassRemoteNode, 3},
	{netip.MustParsePrefix("192.0.2.0/24"), bpf.ClassUnknownNode, 0},
	{netip.MustParsePrefix("fd00:244::/32"), bpf.ClassCluster, 0},
	{netip.MustParsePrefix("fd00:244:1::/48"), bpf.ClassLocalPod, 0},
	{netip.MustParsePrefix("fd00:244:2::/48"), bpf.ClassRemotePod, 2},
	{netip.MustParsePrefix("fd00:244:3::/48"), bpf.ClassRemotePod, 3},
	{netip.MustParsePrefix("2001:db8::1/128"), bpf.ClassLocalNode, 0},
	{netip.MustParsePrefix("2001:db8::2/128"), bpf.ClassRemoteNode, 2},
	{netip.MustParsePrefix("2001:db8::3/128"), bpf.ClassRemoteNode, 3},
	{netip.MustParsePrefix("2001:db8::/64"), bpf.ClassUnknownNode, 0},
}

// An address of each class, by family.
var (
	addresses4 = map[bpf.Class]netip.Addr{
		bpf.ClassNone:        netip.MustParseAddr("198.51.100.7"),
		bpf.ClassLocalPod:    netip.MustParseAddr("10.244.1.5"),
		bpf.ClassLocalNode:   netip.MustParseAddr("192.0.2.1"),
		bpf.ClassRemotePod:   netip.MustParseAddr("10.244.2.255"),
		bpf.ClassRemoteNode:  netip.MustParseAddr("192.0.2.3"),
		bpf.ClassCluster:     netip.MustParseAddr("10.244.4.0"),
		bpf.ClassUnknownNode: netip.MustParseAddr("192.0.2.4"),
	}
	addresses6 = map[bpf.Class]netip.Addr{
		bpf.ClassNone:        netip.MustParseAddr("2001:db8:ffff::7"),
		bpf.ClassLocalPod:    netip.MustParseAddr("fd00:244:1::5"),
		bpf.ClassLocalNode:   netip.MustParseAddr("2001:db8::1"),
		bpf.ClassRemotePod:   netip.MustParseAddr("fd00:244:2:ffff:ffff:ffff:ffff:ffff"),
		bpf.ClassRemoteNode:  netip.MustParseAddr("2001:db8::3"),
		bpf.ClassCluster:     netip.MustParseAddr("fd00:244:4::"),
		bpf.ClassUnknownNode: netip.MustParseAddr("2001:db8::4"),
	}
	families = map[string]map[bpf.Class]netip.Addr{"IPv4": addresses4, "IPv6": addresses6}
)
