/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* packet.h: from a packet to the two addresses that decide over it. */
#ifndef WGSTEER_PACKET_H
#define WGSTEER_PACKET_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"

#define VLAN_TAGS_MAX 2 /* IEEE 802.1ad: a service tag and a customer tag */
#define VLAN_TAG_LEN 4
#define LINEAR_MAX 512 /* bytes; more than all headers read here */
#define FRAGMENT_OFFSET 0x1fff
#define IPV6_MTU_MIN 1280 /* RFC 8200, 5 */

enum link {
	LINK_ETHERNET, /* the packet starts with an Ethernet header */
	LINK_NONE,     /* there is none: the packet's protocol is metadata */
};

enum parsed { PARSED_IP, PARSED_NOT_IP, PARSED_MALFORMED };

struct packet {
	struct prefix_key source;
	struct prefix_key destination;
	__u32 vlan_tags; /* in the packet's bytes, not in its metadata */
	__u32 payload;   /* where what is behind the IP header starts, see read_at */
	__u8 protocol;   /* of the payload, an extension header included */
	bool ipv6;
};

/* read_at copies len bytes from offset: counted from the first byte of the
 * frame, or where there is no link-layer header, from the network header, which
 * is also what bpf_redirect hands to the tunnel device. The latter reads linear
 * data only (bpf_skb_load_bytes_relative), hence the second attempt.
 */
static __always_inline bool read_at(struct __sk_buff *skb, enum link link, __u32 offset, void *to, __u32 len)
{
	if (link == LINK_ETHERNET)
		return bpf_skb_load_bytes(skb, offset, to, len) == 0;
	if (bpf_skb_load_bytes_relative(skb, offset, to, len, BPF_HDR_START_NET) == 0)
		return true;
	__u32 linear = skb->len < LINEAR_MAX ? skb->len : LINEAR_MAX;
	return bpf_skb_pull_data(skb, linear) == 0 &&
	       bpf_skb_load_bytes_relative(skb, offset, to, len, BPF_HDR_START_NET) == 0;
}

/* mapped makes ::ffff:a.b.c.d of an IPv4 address (RFC 4291, 2.5.5.2). */
static __always_inline void mapped(struct prefix_key *key, const __be32 *addr)
{
	key->addr[10] = key->addr[11] = 0xff;
	__builtin_memcpy(&key->addr[12], addr, sizeof(*addr));
}

static __always_inline enum parsed parse_ipv4(struct __sk_buff *skb, enum link link, __u32 offset, struct packet *to)
{
	struct iphdr header;
	if (!read_at(skb, link, offset, &header, sizeof(header)) || header.version != 4 || header.ihl < 5)
		return PARSED_MALFORMED;
	mapped(&to->source, &header.saddr);
	mapped(&to->destination, &header.daddr);
	to->protocol = header.frag_off & bpf_htons(FRAGMENT_OFFSET) ? IPPROTO_NONE : header.protocol;
	to->payload = offset + header.ihl * 4;
	return PARSED_IP;
}

static __always_inline enum parsed parse_ipv6(struct __sk_buff *skb, enum link link, __u32 offset, struct packet *to)
{
	struct ipv6hdr header;
	if (!read_at(skb, link, offset, &header, sizeof(header)) || header.version != 6)
		return PARSED_MALFORMED;
	__builtin_memcpy(to->source.addr, &header.saddr, sizeof(header.saddr));
	__builtin_memcpy(to->destination.addr, &header.daddr, sizeof(header.daddr));
	to->protocol = header.nexthdr;
	to->payload = offset + sizeof(header);
	to->ipv6 = true;
	return PARSED_IP;
}

/* parse_ip fills to, which must be zero, by an IP packet at offset. */
static __always_inline enum parsed parse_ip(struct __sk_buff *skb, enum link link, __u32 offset, __be16 protocol,
					    struct packet *to)
{
	to->source.prefixlen = to->destination.prefixlen = 128;
	if (protocol == bpf_htons(ETH_P_IP))
		return parse_ipv4(skb, link, offset, to);
	if (protocol == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(skb, link, offset, to);
	return PARSED_NOT_IP;
}

static __always_inline bool is_vlan(__be16 protocol)
{
	return protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD);
}

/* parse_ethernet fills to, which must be zero, by an Ethernet frame at offset. */
static __always_inline enum parsed parse_ethernet(struct __sk_buff *skb, enum link link, __u32 offset,
						  struct packet *to)
{
	__be16 protocol;

	offset += ETH_HLEN;
	if (!read_at(skb, link, offset - sizeof(protocol), &protocol, sizeof(protocol)))
		return PARSED_MALFORMED;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		if (!is_vlan(protocol))
			break;
		to->vlan_tags++;
		offset += VLAN_TAG_LEN;
		if (!read_at(skb, link, offset - sizeof(protocol), &protocol, sizeof(protocol)))
			return PARSED_MALFORMED;
	}
	if (is_vlan(protocol))
		return PARSED_MALFORMED;
	return parse_ip(skb, link, offset, protocol, to);
}

/* parse fills to, which must be zero, and says whether it could. An Ethernet
 * frame is what its bytes say: the metadata of a packet that a raw socket sent
 * may say something else.
 */
static __always_inline enum parsed parse(struct __sk_buff *skb, enum link link, struct packet *to)
{
	if (link == LINK_ETHERNET)
		return parse_ethernet(skb, link, 0, to);
	return parse_ip(skb, link, 0, (__be16)skb->protocol, to);
}

/* network_start is where the network header of a packet on a device without a
 * link-layer header starts, counted from the first byte, as helpers that write count.
 * That is 0, but BPF_PROG_TEST_RUN has an Ethernet header before it.
 */
static __always_inline __u32 network_start(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 first = 0;
	bpf_skb_load_bytes(skb, 0, &first, sizeof(first));
	return first >> 4 == (packet->ipv6 ? 6 : 4) ? 0 : ETH_HLEN;
}

/* device_mtu is that of the device on which the program is, in bytes. */
static __always_inline __u32 device_mtu(struct __sk_buff *skb)
{
	__u32 mtu = 0;
	bpf_check_mtu(skb, 0, &mtu, 0, 0);
	return mtu;
}

#endif
