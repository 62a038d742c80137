/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* mss.h: TCP is told at its start how long its segments may be, so that it need
 * not find out by losing some.
 */
#ifndef WGSTEER_MSS_H
#define WGSTEER_MSS_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"

#define TCP_SYN 0x02		/* RFC 9293, 3.1 */
#define TCP_FLAGS_AT 12		/* the data offset, and behind it the flags */
#define TCP_CHECKSUM_AT 16
#define TCP_OPTIONS_AT 20
#define TCP_OPTIONS_MAX 40	/* bytes, so no more than 40 options */

enum { OPTION_END = 0, OPTION_NOTHING = 1, OPTION_MSS = 2 }; /* RFC 9293, 3.2 */

#define OPTION_MSS_LEN 4

/* mss_limit is the longest TCP payload, without options, of a packet that fits:
 * RFC 9293, 3.7.1, and RFC 6691.
 */
static __always_inline __u32 mss_limit(struct __sk_buff *skb, bool ipv6)
{
	__u32 mtu = device_mtu(skb);
	if (ipv6)
		return (mtu < IPV6_MTU_MIN ? IPV6_MTU_MIN : mtu) - 60;
	return mtu - 40;
}

static __always_inline void lower_mss(struct __sk_buff *skb, __u32 tcp, __u32 at, __be16 old, __be16 new)
{
	bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0);
	/* The checksum is of 16-bit words, and options may start anywhere: RFC 1071, 2(B). */
	if ((at - tcp) & 1) {
		old = __builtin_bswap16(old);
		new = __builtin_bswap16(new);
	}
	bpf_l4_csum_replace(skb, tcp + TCP_CHECKSUM_AT, old, new, sizeof(new));
}

/* clamp_options goes through the options of a TCP header, from tcp to end. It
 * stops at the first that is malformed. A packet has one MSS option; should there
 * be more, receivers differ in which one counts, so all are lowered. Where there
 * is none, 536 or 1220 bytes hold, which fit.
 */
static __noinline int clamp_options(struct __sk_buff *skb, __u32 tcp, __u32 end, __u32 limit)
{
	__u32 at = tcp + TCP_OPTIONS_AT;

	for (int i = 0; i < TCP_OPTIONS_MAX; i++) {
		struct {
			__u8 kind, length;
			__be16 mss;
		} option;
		if (at + sizeof(option) > end || bpf_skb_load_bytes(skb, at, &option, sizeof(option)))
			return 0;
		if (option.kind == OPTION_END)
			return 0;
		if (option.kind == OPTION_NOTHING) {
			at++;
			continue;
		}
		if (option.length < 2 || at + option.length > end)
			return 0;
		if (option.kind == OPTION_MSS && option.length == OPTION_MSS_LEN && bpf_ntohs(option.mss) > limit)
			lower_mss(skb, tcp, at + 2, option.mss, bpf_htons(limit));
		at += option.length;
	}
	return 0;
}

/* clamp_mss lowers what a SYN, or its answer, says the other end may send. Never
 * raised: an end may have its own reasons.
 */
static __always_inline void clamp_mss(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 header[2]; /* data offset, flags */

	if (packet->protocol != IPPROTO_TCP || skb->gso_size)
		return;
	if (!read_at(skb, LINK_NONE, packet->payload + TCP_FLAGS_AT, header, sizeof(header)))
		return;
	if (!(header[1] & TCP_SYN))
		return;
	__u32 tcp = network_start(skb, packet) + packet->payload;
	clamp_options(skb, tcp, tcp + (header[0] >> 4) * 4, mss_limit(skb, packet->ipv6));
}

#endif
