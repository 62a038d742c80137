/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* count.h: no packet disappears unnamed, and none is counted twice. */
#ifndef WGSTEER_COUNT_H
#define WGSTEER_COUNT_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "table.h"

/* packets is how many packets skb stands for: GSO puts many into one. gso_segs
 * is 0 also for GSO packets whose sender was not trusted to count.
 */
static __always_inline __u64 packets(struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

/* leave counts the outcome and returns the action for it. Every exit of every
 * program goes through here, once. What is not dropped is left to whoever comes
 * next in the chain: TC_ACT_UNSPEC is TCX_NEXT; TC_ACT_OK would end it, and skip
 * the programs and filters behind this one.
 */
static __noinline int leave(struct __sk_buff *skb, enum hook hook, enum verdict verdict, enum reason reason)
{
	__u32 index = (hook * VERDICT_MAX + verdict) * REASON_MAX + reason;
	struct count *count = bpf_map_lookup_elem(&verdicts, &index);
	if (count) {
		count->packets += packets(skb);
		count->bytes += skb->len;
	}
	return verdict == VERDICT_drop ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

static __always_inline void count_to_peer(struct __sk_buff *skb, __u32 peer)
{
	struct peer_count *count = bpf_map_lookup_elem(&peers, &peer);
	if (count) {
		count->tx_packets += packets(skb);
		count->tx_bytes += skb->len;
	}
}

static __always_inline void count_from_peer(struct __sk_buff *skb, __u32 peer)
{
	struct peer_count *count = bpf_map_lookup_elem(&peers, &peer);
	if (count) {
		count->rx_packets += packets(skb);
		count->rx_bytes += skb->len;
	}
}

#endif
