// Package bpf is what the kernel runs: the eBPF programs that recognise
// cross-node pod packets and send them into the tunnel device, the maps through
// which they are told the classes of addresses, and the names of what they
// count. The C is here (steer.c and its headers) with its compiled form and the
// Go generated of it; nobody needs clang to build.
//
// The programs, all of type SCHED_CLS and for tcx and clsact alike:
//
//   - steer redirects what is to be encrypted, at the egress of uplinks and overlay
//     devices;
//   - guard_egress and guard_ingress, on their two sides, only drop: they stand
//     without steer, and behind it where it is;
//   - backstop_egress and backstop_ingress are the guards once more, for clsact on
//     devices whose guards are tcx links: they count what they drop, no more;
//   - tunnel_egress and tunnel_ingress are for the two sides of the tunnel device,
//     backstop_tunnel_ingress for clsact there.
//
// Those of uplinks come in two kinds: _l2 for devices with an Ethernet header, _l3
// for those without a link-layer header.
//
// The decision depends on the classes of source and destination alone: table.h
// holds it, names.h the outcomes, layout.h the maps. Where a program has no
// verdict it returns -1 (TCX_NEXT, TC_ACT_UNSPEC), so that what comes behind it
// in the chain has its say; never 0.
//
// A packet counts once at each hook that it passes, by steer or by the guard: one to
// be encrypted at the uplink's egress and again at the tunnel device's.
//
// On the tunnel device two more things happen to packets: mss.h lowers the MSS of
// TCP's SYN and SYN-ACK, icmp.h turns what is too long into an ICMP error.
//
// What the programs do not look into, and pass as not_ip where it leaves by an
// uplink: IP inside MPLS, PPPoE or an 802.2 header. IPv4 addresses in the form
// ::ffff:a.b.c.d have the class of the IPv4 address also in IPv6 packets.
//
// Package steering loads, pins and attaches all this and fills the maps. There
// is no policy in Go here, and no system call.
package bpf

//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel Steer steer.c -- -mcpu=v3 -Wall -Wextra -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
//go:generate go run ./internal/enumgen names.h enums_gen.go
