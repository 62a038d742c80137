/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* icmp.h: a packet that is too long for the tunnel, and must not be fragmented,
 * becomes the ICMP error that tells its sender how long packets may be.
 */
#ifndef WGSTEER_ICMP_H
#define WGSTEER_ICMP_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "count.h"
#include "packet.h"

#define DONT_FRAGMENT 0x4000 /* RFC 791, 3.1 */

/* RFC 792 and RFC 1191; RFC 4443, 3.2. */
enum { ICMP_UNREACHABLE = 3, ICMP_NEEDS_FRAGMENTATION = 4 };
enum { ICMP6_TOO_BIG = 2, ICMP6_INFORMATION = 128, ICMP6_REDIRECT = 137 };

#define ANSWER_HOPS 64 /* as the kernel's own */

/* How much of the packet comes back in the answer: enough for an IPv4 header with
 * options, or an IPv6 header with extensions, and the ports and sequence number
 * behind it, which say whose it was. The RFCs would have more, up to 576 and 1280
 * bytes; nobody needs it, and what is written here is on the program's stack, of
 * 512 bytes.
 */
#define QUOTED 128
#define QUOTED_OF_TRANSPORT 8

/* On an answer's way from the tunnel device's egress to its ingress, skb->mark
 * tells it from what was decrypted: the mark of what user space writes to a TUN is 0.
 */
#define ANSWER_MARK 0x77677374

struct too_big {
	__u8 type, code;
	__sum16 checksum;
	__be32 mtu; /* in ICMPv4 two bytes of zero, and then the MTU */
};

struct answer4 {
	struct iphdr ip;
	struct too_big icmp;
	__u8 quoted[QUOTED];
};

struct answer6 {
	struct ipv6hdr ip;
	struct too_big icmp;
	__u8 quoted[QUOTED];
};

/* too_long says whether a packet, or a segment of one, is longer than the tunnel
 * device's MTU and must not be fragmented. Other IPv4 goes on, and so does IPv6 where
 * the MTU is less than IPv6 demands: in fragments of the tunnel's own datagrams
 * (RFC 8200, 5). So does what the kernel cannot measure.
 */
static __always_inline bool too_long(struct __sk_buff *skb, const struct packet *packet)
{
	struct iphdr header;
	__u32 mtu = 0;

	if (bpf_check_mtu(skb, 0, &mtu, 0, BPF_MTU_CHK_SEGS) <= 0)
		return false;
	if (packet->ipv6)
		return mtu >= IPV6_MTU_MIN;
	return read_at(skb, LINK_NONE, 0, &header, sizeof(header)) && header.frag_off & bpf_htons(DONT_FRAGMENT);
}

/* one_host says whether an address can be that of a single other host. */
static __always_inline bool one_host(const struct packet *packet)
{
	const __u8 *addr = packet->source.addr;

	if (!packet->ipv6)
		return addr[12] != 0 && addr[12] != 127 && addr[12] < 224;
	if (addr[0] == 0xff)
		return false;
	for (int i = 0; i < 15; i++)
		if (addr[i])
			return true;
	return addr[15] > 1; /* :: and ::1 */
}

/* is_icmp_error says it of all of which it cannot be ruled out. */
static __always_inline bool is_icmp_error(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 type;

	if (packet->protocol != (packet->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return false;
	if (!read_at(skb, LINK_NONE, packet->payload, &type, sizeof(type)))
		return true;
	if (packet->ipv6)
		return type < ICMP6_INFORMATION || type == ICMP6_REDIRECT;
	/* unreachable, source quench, redirect, time exceeded, parameter problem */
	return type == ICMP_UNREACHABLE || type == 4 || type == 5 || type == 11 || type == 12;
}

/* may_answer is what RFC 1122, 3.2.2, and RFC 4443, 2.4(e), allow. Unlike other
 * errors this one is not limited in its rate: its receiver is on this node, and
 * the kernel's own are not either (icmpv4_xrlim_allow, icmpv6_mask_allow).
 */
static __always_inline bool may_answer(struct __sk_buff *skb, const struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_NONE:     /* a later fragment, in IPv4 */
	case IPPROTO_FRAGMENT: /* and in IPv6 */
	case IPPROTO_HOPOPTS:  /* more extension headers than are read: it may be anything */
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		return false;
	}
	return packet->payload + QUOTED_OF_TRANSPORT <= QUOTED && one_host(packet) && !is_icmp_error(skb, packet);
}

static __always_inline __sum16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* cut makes room for an answer of len bytes, of which the first are anyone's. It takes
 * the packet's front off, not only its end: a checksum that was left to the device
 * would be written into the answer later on; so it is forgotten (skb_postpull_rcsum).
 */
static __always_inline bool cut(struct __sk_buff *skb, __u32 start, __u32 len)
{
	return bpf_skb_change_tail(skb, start + QUOTED + len, 0) == 0 &&
	       bpf_skb_adjust_room(skb, -QUOTED, BPF_ADJ_ROOM_MAC, 0) == 0;
}

/* make_answer4 and make_answer6 write an answer over the packet. It comes from the
 * packet's destination: from an address of this node it would be a martian.
 */
static __noinline int make_answer4(struct __sk_buff *skb, __u32 start)
{
	struct answer4 answer = {};
	struct iphdr old;

	if (bpf_skb_load_bytes(skb, start, answer.quoted, sizeof(answer.quoted)))
		return -1;
	__builtin_memcpy(&old, answer.quoted, sizeof(old));
	answer.ip.version = 4;
	answer.ip.ihl = sizeof(answer.ip) / 4;
	answer.ip.tot_len = bpf_htons(sizeof(answer));
	answer.ip.frag_off = bpf_htons(DONT_FRAGMENT); /* so the identification may be 0: RFC 6864, 4.1 */
	answer.ip.ttl = ANSWER_HOPS;
	answer.ip.protocol = IPPROTO_ICMP;
	answer.ip.saddr = old.daddr;
	answer.ip.daddr = old.saddr;
	answer.ip.check = folded(bpf_csum_diff(0, 0, (__be32 *)&answer.ip, sizeof(answer.ip), 0));
	answer.icmp.type = ICMP_UNREACHABLE;
	answer.icmp.code = ICMP_NEEDS_FRAGMENTATION;
	answer.icmp.mtu = bpf_htonl(device_mtu(skb));
	answer.icmp.checksum = folded(bpf_csum_diff(0, 0, (__be32 *)&answer.icmp, sizeof(answer.icmp) + QUOTED, 0));
	if (!cut(skb, start, sizeof(answer)))
		return -1;
	return bpf_skb_store_bytes(skb, start, &answer, sizeof(answer), BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
}

static __noinline int make_answer6(struct __sk_buff *skb, __u32 start)
{
	struct answer6 answer = {};
	struct ipv6hdr old;

	if (bpf_skb_load_bytes(skb, start, answer.quoted, sizeof(answer.quoted)))
		return -1;
	__builtin_memcpy(&old, answer.quoted, sizeof(old));
	answer.ip.version = 6;
	answer.ip.payload_len = bpf_htons(sizeof(answer.icmp) + QUOTED);
	answer.ip.nexthdr = IPPROTO_ICMPV6;
	answer.ip.hop_limit = ANSWER_HOPS;
	answer.ip.saddr = old.daddr;
	answer.ip.daddr = old.saddr;
	answer.icmp.type = ICMP6_TOO_BIG;
	answer.icmp.mtu = bpf_htonl(device_mtu(skb));
	/* the pseudo-header of RFC 8200, 8.1: both addresses, length, protocol */
	__u32 sum = bpf_csum_diff(0, 0, (__be32 *)&answer.ip.saddr, 2 * sizeof(answer.ip.saddr),
				  (__u32)answer.ip.payload_len + bpf_htons(IPPROTO_ICMPV6));
	answer.icmp.checksum = folded(bpf_csum_diff(0, 0, (__be32 *)&answer.icmp, sizeof(answer.icmp) + QUOTED, sum));
	if (!cut(skb, start, sizeof(answer)))
		return -1;
	return bpf_skb_store_bytes(skb, start, &answer, sizeof(answer), BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
}

/* refuse drops a packet that is too long, and where that is allowed sends the answer
 * into the device's own ingress, and so on into the host's stack. The drop is counted
 * while the packet is still itself.
 */
static __always_inline int refuse(struct __sk_buff *skb, const struct packet *packet)
{
	if (!may_answer(skb, packet))
		return leave(skb, HOOK_tunnel_egress, VERDICT_drop, REASON_too_long_unanswered);
	__u32 start = network_start(skb, packet);
	int drop = leave(skb, HOOK_tunnel_egress, VERDICT_drop, REASON_too_long);
	if (packet->ipv6 ? make_answer6(skb, start) : make_answer4(skb, start))
		return drop; /* no memory for it */
	skb->mark = ANSWER_MARK;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/* take_answer says whether a packet is an answer of refuse, and makes it one like
 * any other.
 */
static __always_inline bool take_answer(struct __sk_buff *skb)
{
	if (skb->mark != ANSWER_MARK)
		return false;
	skb->mark = 0;
	return true;
}

#endif
