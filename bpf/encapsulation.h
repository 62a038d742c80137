/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* encapsulation.h: what a packet carries inside, where that is a packet too. One
 * level deep; docs/steering.md lists what is not looked into.
 */
#ifndef WGSTEER_ENCAPSULATION_H
#define WGSTEER_ENCAPSULATION_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>

#include "layout.h"
#include "packet.h"

#define EXTENSIONS_MAX 4
#define EXTENSION_FRAGMENT_OFFSET 0xfff8 /* RFC 8200, 4.5 */

#define ETH_P_BRIDGED 0x6558 /* transparent Ethernet bridging: RFC 1701 */

#define GRE_CHECKSUM 0x8000 /* RFC 2784, RFC 2890: each is a field of 4 bytes more */
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_REST 0x4007 /* routing, which RFC 2784 did away with, and the version */

#define VXLAN_LEN 8	/* RFC 7348, 5 */
#define VXLAN_HAS_VNI 0x08
#define GENEVE_LEN 8	/* RFC 8926, 3.4; options come on top */
#define GENEVE_OPTIONS 0x3f /* their length, in 4 bytes */

/* skip_extensions goes on to what is behind the extension headers (RFC 8200, 4).
 * Where that is not here, as in later fragments, it stays at the one before.
 */
static __always_inline void skip_extensions(struct __sk_buff *skb, enum link link, struct packet *to)
{
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		struct {
			__u8 next, length; /* in 8 bytes, without the first 8 */
			__be16 fragment;
		} header;
		bool fragment = to->protocol == IPPROTO_FRAGMENT;
		if (!fragment && to->protocol != IPPROTO_HOPOPTS && to->protocol != IPPROTO_ROUTING &&
		    to->protocol != IPPROTO_DSTOPTS)
			return;
		if (!read_at(skb, link, to->payload, &header, sizeof(header)))
			return;
		if (fragment && header.fragment & bpf_htons(EXTENSION_FRAGMENT_OFFSET))
			return;
		to->protocol = header.next;
		to->payload += fragment ? 8 : 8 + header.length * 8;
	}
}

/* carried is where a packet inside of another starts, and its EtherType; 0 where
 * there is none.
 */
struct carried {
	__u32 offset;
	__be16 protocol; /* ETH_P_BRIDGED: an Ethernet frame */
};

static __always_inline struct carried in_gre(struct __sk_buff *skb, enum link link, __u32 offset)
{
	struct {
		__be16 flags;
		__be16 protocol;
	} header;
	if (!read_at(skb, link, offset, &header, sizeof(header)) || header.flags & bpf_htons(GRE_REST))
		return (struct carried){};
	offset += sizeof(header);
	offset += header.flags & bpf_htons(GRE_CHECKSUM) ? 4 : 0;
	offset += header.flags & bpf_htons(GRE_KEY) ? 4 : 0;
	offset += header.flags & bpf_htons(GRE_SEQUENCE) ? 4 : 0;
	return (struct carried){offset, header.protocol};
}

static __always_inline bool is_one_of(const __u16 *ports, __u16 port)
{
#pragma unroll
	for (int i = 0; i < PORTS_MAX; i++)
		if (port && ports[i] == port)
			return true;
	return false;
}

static __always_inline struct carried in_udp(struct __sk_buff *skb, enum link link, __u32 offset,
					     const struct settings *now)
{
	struct {
		struct udphdr udp;
		__u8 first; /* VXLAN's flags; Geneve's version, and length of options */
		__u8 second;
		__be16 protocol; /* Geneve's */
	} header;
	if (!read_at(skb, link, offset, &header, sizeof(header)))
		return (struct carried){};
	offset += sizeof(header.udp);
	__u16 port = bpf_ntohs(header.udp.dest);
	if (is_one_of(now->vxlan_ports, port) && header.first & VXLAN_HAS_VNI)
		return (struct carried){offset + VXLAN_LEN, bpf_htons(ETH_P_BRIDGED)};
	if (is_one_of(now->geneve_ports, port) && !(header.first & ~GENEVE_OPTIONS))
		return (struct carried){offset + GENEVE_LEN + header.first * 4, header.protocol};
	return (struct carried){};
}

/* parse_carried is a function of its own, called by all programs, to keep them short. */
static __noinline enum parsed parse_carried(struct __sk_buff *skb, enum link link, __u32 offset, __be16 protocol,
					    struct packet *inner)
{
	if (protocol == bpf_htons(ETH_P_BRIDGED))
		return parse_ethernet(skb, link, offset, inner);
	return parse_ip(skb, link, offset, protocol, inner);
}

/* parse_inside fills inner, which must be zero, by what outer carries; it says
 * PARSED_NOT_IP where that is no packet, or one of an encapsulation not known here.
 */
static __always_inline enum parsed parse_inside(struct __sk_buff *skb, enum link link, struct packet *outer,
						const struct settings *now, struct packet *inner)
{
	struct carried carried = {};

	if (outer->ipv6)
		skip_extensions(skb, link, outer);
	switch (outer->protocol) {
	case IPPROTO_IPIP:
		carried = (struct carried){outer->payload, bpf_htons(ETH_P_IP)};
		break;
	case IPPROTO_IPV6:
		carried = (struct carried){outer->payload, bpf_htons(ETH_P_IPV6)};
		break;
	case IPPROTO_GRE:
		carried = in_gre(skb, link, outer->payload);
		break;
	case IPPROTO_UDP:
		carried = in_udp(skb, link, outer->payload, now);
		break;
	}
	if (!carried.protocol)
		return PARSED_NOT_IP;
	return parse_carried(skb, link, carried.offset, carried.protocol, inner);
}

#endif
