// Package steering makes the kernel send cross-node pod packets into a tunnel
// device and drop what must not leave in plaintext: from a desired State it
// derives map contents, an nftables table, routes and addresses, attaches the
// programs of package bpf, and follows devices as they come and go.
//
// It is called by dataplane. It knows no keys and no tunnel but an interface
// index, it does not decide who the peers are, and it mounts no bpffs. All that
// it makes is pinned or belongs to the network namespace, and outlives the
// process; Teardown removes it.
//
// The pure part is in the files without _linux in their name: what is a valid
// State (validate.go), the maps' contents (table.go), the nftables table for the
// devices without programs (nft.go), routes and addresses (route.go), which
// devices to steer (device.go, reason.go) and what goes where on them
// (attach.go). steering_linux.go brings the kernel there, in an order in which
// plaintext has no way out at any moment. explain.go says, without sending one,
// what would become of a packet.
//
// In the bpffs, under Options.BPFFS and the tunnel device's name, are
//
//	maps/<name>                  the maps of package bpf
//	links/<ifindex>-<direction>  the tcx links, which hold the programs
//
// and in the network namespace, where there is no tcx, clsact filters called
// wgsteer/<tunnel device>/<program>, the nftables table inet
// wgsteer-<tunnel device>, routes with Options.RouteProtocol, and on the tunnel
// device single addresses without a prefix route.
package steering
