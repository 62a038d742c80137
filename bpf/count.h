/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* count.h: no packet disappears unnamed, and none is counted twice. */
#ifndef WGSTEER_COUNT_H
#define WGSTEER_COUNT_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "table.h"

/* payload_len is the bytes behind the TCP or UDP header of an IP packet: what
 * GSO cuts. IPv6 extension headers count as payload. 0 if it cannot be told.
 */
static __always_inline __u32 payload_len(struct __sk_buff *skb)
{
	struct ipv6hdr ip6;
	struct iphdr ip4;
	__u32 headers, total;
	__u8 protocol, offset;

	if (bpf_skb_load_bytes_relative(skb, 0, &ip4, sizeof(ip4), BPF_HDR_START_NET))
		return 0;
	if (ip4.version == 4) {
		headers = ip4.ihl * 4;
		total = bpf_ntohs(ip4.tot_len);
		protocol = ip4.protocol;
	} else {
		if (bpf_skb_load_bytes_relative(skb, 0, &ip6, sizeof(ip6), BPF_HDR_START_NET))
			return 0;
		headers = sizeof(ip6);
		total = sizeof(ip6) + bpf_ntohs(ip6.payload_len);
		protocol = ip6.nexthdr;
	}
	if (protocol == IPPROTO_UDP)
		headers += sizeof(struct udphdr);
	/* the data offset is the upper half of byte 12, RFC 9293 section 3.1 */
	if (protocol == IPPROTO_TCP && !bpf_skb_load_bytes_relative(skb, headers + 12, &offset, 1, BPF_HDR_START_NET))
		headers += (offset >> 4) * 4;
	return total > headers ? total - headers : 0;
}

/* packets is how many packets skb stands for: GSO puts many into one. gso_segs
 * is 0 for GSO packets whose sender was not trusted to count (SKB_GSO_DODGY),
 * such as all that user space writes to a TUN.
 */
static __always_inline __u64 packets(struct __sk_buff *skb)
{
	if (skb->gso_segs)
		return skb->gso_segs;
	if (!skb->gso_size)
		return 1;
	__u32 payload = payload_len(skb);
	return payload ? (payload + skb->gso_size - 1) / skb->gso_size : 1;
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
