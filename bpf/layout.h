/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* layout.h: the maps, which are all that the programs and user space share.
 *
 * User space writes prefixes, settings and peer_names, and makes and deletes
 * the entries of peers; the programs add to verdicts and peers and write
 * nothing else. All maps may be pinned and outlive the process that made them.
 */
#ifndef WGSTEER_LAYOUT_H
#define WGSTEER_LAYOUT_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "names.h"

#define ENUMERATE_CLASS(name, doc) CLASS_##name,
#define ENUMERATE_HOOK(name, doc) HOOK_##name,
#define ENUMERATE_VERDICT(name, doc) VERDICT_##name,
#define ENUMERATE_REASON(name, doc) REASON_##name,

enum class { CLASSES(ENUMERATE_CLASS) };
enum hook { HOOKS(ENUMERATE_HOOK) HOOK_COUNT };
enum verdict { VERDICTS(ENUMERATE_VERDICT) VERDICT_COUNT };
enum reason { REASONS(ENUMERATE_REASON) REASON_COUNT };

/* The dimensions of verdicts. They leave room, so that a version that knows
 * more hooks or reasons can go on with the counters pinned by an older one.
 */
#define HOOK_MAX 8
#define VERDICT_MAX 4
#define REASON_MAX 32

_Static_assert(HOOK_COUNT <= HOOK_MAX, "verdicts is too small");
_Static_assert(VERDICT_COUNT <= VERDICT_MAX, "verdicts is too small");
_Static_assert(REASON_COUNT <= REASON_MAX, "verdicts is too small");

/* An IPv6 prefix, or an IPv4 one as ::ffff:a.b.c.d with 96 added to its length.
 * The layout of struct bpf_lpm_trie_key.
 */
struct prefix_key {
	__u32 prefixlen; /* bits, host byte order */
	__u8 addr[16];   /* network byte order */
};

struct prefix {
	enum class class;
	__u32 peer; /* key of peers; 0 is no peer */
};

#define PORTS_MAX 8

struct settings {
	__u32 strict;         /* 1: drop what cannot be encrypted; 0: pass it and count */
	__u32 tunnel_ifindex; /* 0: no tunnel, what should be encrypted is dropped */
	/* UDP destination ports, host byte order, 0 for none. */
	__u16 vxlan_ports[PORTS_MAX];
	__u16 geneve_ports[PORTS_MAX];
};

/* What came to one outcome. A GSO packet counts as its segments; bytes are of
 * the unsegmented packet, with the link-layer header where the device has one.
 */
struct count {
	__u64 packets;
	__u64 bytes;
};

/* What went to and came from one peer through the tunnel device: IP packets,
 * without any link-layer header.
 */
struct peer_count {
	__u64 tx_packets;
	__u64 tx_bytes;
	__u64 rx_packets;
	__u64 rx_bytes;
};

/* A peer's name, padded with zero bytes. */
struct peer_name {
	__u8 name[256];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix_key);
	__type(value, struct prefix);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* Index: (hook * VERDICT_MAX + verdict) * REASON_MAX + reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK_MAX * VERDICT_MAX * REASON_MAX);
	__type(key, __u32);
	__type(value, struct count);
} verdicts SEC(".maps");

/* Key: the peer's number, above 0. User space makes an entry before the first
 * prefix that names it, and deletes it after the last; without it nothing is
 * counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct peer_count);
} peers SEC(".maps");

/* Who a peer's number is; for user space alone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct peer_name);
} peer_names SEC(".maps");

#endif
