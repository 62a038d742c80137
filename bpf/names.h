/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* names.h: every enumeration that C and Go share, each name with one line of
 * documentation. internal/enumgen reads this file and writes enums_gen.go.
 *
 * The numbers are kept in maps that outlive a process and its version: append,
 * never reorder or reuse. Hooks, verdicts and reasons are metric labels.
 */
#ifndef WGSTEER_NAMES_H
#define WGSTEER_NAMES_H

/* Class: whose an address is. */
#define CLASSES(X)                                                             \
	X(none, "in no prefix: the rest of the world")                         \
	X(local_pod, "in one of this node's pod CIDRs")                        \
	X(local_node, "an address of this node")                               \
	X(remote_pod, "in a pod CIDR of a peer")                               \
	X(remote_node, "an address of a peer's node")                          \
	X(cluster, "in a cluster CIDR: a pod that no peer has announced")      \
	X(unknown_node, "in a node CIDR: a node that is neither this one nor a peer")

/* Hook: where a program is attached. */
#define HOOKS(X)                                                               \
	X(egress, "egress of an uplink or an overlay device")                  \
	X(tunnel_egress, "egress of the tunnel device, before encryption")     \
	X(tunnel_ingress, "ingress of the tunnel device, after decryption")    \
	X(ingress, "ingress of an uplink or an overlay device")

/* Verdict: what becomes of a packet. */
#define VERDICTS(X)                                                            \
	X(pass, "goes on as it is")                                            \
	X(encrypt, "goes into the tunnel")                                     \
	X(drop, "is dropped")

/* Reason: why a packet got its verdict. */
#define REASONS(X)                                                             \
	X(not_pod_traffic, "not between pods of the cluster, nor between a pod and a peer's node: nothing to encrypt") \
	X(to_remote_pod, "from this node or its pods to a pod of a peer")      \
	X(to_remote_node, "from a pod of this node to a peer's node")          \
	X(to_local, "decrypted, and meant for this node or one of its pods")   \
	X(not_ip, "neither IPv4 nor IPv6; ARP is such")                        \
	X(malformed, "the IP header cannot be read: cut short, of the wrong version, or behind more than two VLAN tags") \
	X(foreign_source, "to a pod of a peer, from a source that the peer's allowed IPs would refuse") \
	X(unknown_peer, "to a pod of the cluster that no peer has announced")  \
	X(misrouted, "the destination is on the other side: a local pod is not out there, a remote one not in here") \
	X(no_tunnel, "should be encrypted, but there is no tunnel device yet") \
	X(not_for_tunnel, "was routed into the tunnel device, but no peer would take it") \
	X(plaintext_in, "from a pod of another node, or from a peer's node to a pod, but not through the tunnel") \
	X(encapsulated_plaintext, "holds a packet, by an encapsulation other than the tunnel's, that may not cross here in plaintext") \
	X(not_steered, "should be encrypted and was not sent into the tunnel: the program that does is missing on this device") \
	X(too_long, "longer than the tunnel takes, and must not be fragmented: its sender is told by ICMP") \
	X(too_long_unanswered, "too long as well, but an ICMP error, a later fragment or of such a source that no ICMP may answer it") \
	X(mtu_answer, "the ICMP answer to a packet that was too_long, on its way to the sender") \
	X(unknown_node, "between a pod of this node and an address in a node CIDR that is neither this node's nor a peer's")

#endif
