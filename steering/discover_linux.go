package steering

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Discover reads from this network namespace what a node says of itself, and
// which devices lead to the endpoints. Devices, if any, are the names to take
// instead of those that are found.
func Discover(endpoints []netip.Addr, devices []string) (Facts, error) {
	n, err := readNetwork(DefaultRouteProtocol)
	if err != nil {
		return Facts{}, err
	}
	addresses, err := readAddresses()
	if err != nil {
		return Facts{}, err
	}
	return n.facts(addresses, endpoints, devices), nil
}

// passing are the flags of addresses that others should not be told.
const passing = unix.IFA_F_TEMPORARY | unix.IFA_F_TENTATIVE | unix.IFA_F_DEPRECATED | unix.IFA_F_DADFAILED

// readAddresses lists the lasting global unicast addresses.
func readAddresses() ([]address, error) {
	listed, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, unix.AF_UNSPEC) })
	if err != nil {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	var found []address
	for _, a := range listed {
		p, ok := prefixOf(a.IPNet)
		if !ok || !p.Addr().IsGlobalUnicast() || temporary(a) {
			continue
		}
		found = append(found, address{a.LinkIndex, p.Addr()})
	}
	return found, nil
}

// temporary tells an address that will not last. In IPv4 the first of these
// flags means secondary, which is no reason.
func temporary(a netlink.Addr) bool {
	flags := a.Flags & passing
	if a.IP.To4() != nil {
		flags &^= unix.IFA_F_SECONDARY
	}
	return flags != 0
}
