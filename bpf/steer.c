//go:build ignore

/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* steer.c: the programs, for tcx and for clsact. A packet's way through each:
 * parse it, look up the classes of its two addresses, decide, leave; on uplinks
 * and overlay devices the same for a packet that it carries.
 *
 * On a device's egress steer comes first and redirects; guard comes behind it and
 * drops; backstop, the same once more, is a filter of clsact behind both.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "count.h"
#include "encapsulation.h"
#include "icmp.h"
#include "layout.h"
#include "mss.h"
#include "packet.h"
#include "table.h"

char program_license[] SEC("license") = "Dual MIT/GPL";

static __always_inline struct prefix lookup(const struct prefix_key *address)
{
	const struct prefix *found = bpf_map_lookup_elem(&prefixes, address);
	return found ? *found : (struct prefix){CLASS_none, 0};
}

/* current_settings are those of a guard without a tunnel, should there be none. */
static __always_inline struct settings current_settings(void)
{
	__u32 first = 0;
	const struct settings *found = bpf_map_lookup_elem(&settings, &first);
	return found ? *found : (struct settings){.strict = 1, .tunnel_ifindex = 0};
}

/* untag takes all VLAN tags off, those in the metadata included: the tunnel
 * carries IP packets, and a TUN device writes a tag into the middle of one
 * (tun_put_user). Should it fail, tunnel_egress drops what is left.
 */
static __always_inline void untag(struct __sk_buff *skb, __u32 tags)
{
	if (skb->vlan_present)
		tags++;
#pragma unroll
	for (__u32 i = 0; i < VLAN_TAGS_MAX + 1; i++)
		if (i < tags)
			bpf_skb_vlan_pop(skb);
}

static __always_inline struct decision decide_at(enum hook hook, const struct packet *packet, bool strict)
{
	enum class source = lookup(&packet->source).class;
	enum class destination = lookup(&packet->destination).class;

	return hook == HOOK_ingress ? decide_ingress(source, destination, strict) : decide(source, destination, strict);
}

/* look decides over a packet as parse found it, and where that one may pass, over
 * the packet that it carries.
 */
static __always_inline struct decision look(struct __sk_buff *skb, enum link link, enum hook hook,
					    const struct settings *now, struct packet *packet)
{
	struct decision malformed = {now->strict ? VERDICT_drop : VERDICT_pass, REASON_malformed};
	struct packet inner = {};

	switch (parse(skb, link, packet)) {
	case PARSED_NOT_IP:
		return (struct decision){VERDICT_pass, REASON_not_ip};
	case PARSED_MALFORMED:
		return malformed;
	case PARSED_IP:
		break;
	}
	struct decision outside = decide_at(hook, packet, now->strict);
	if (outside.reason != REASON_not_pod_traffic)
		return outside;
	switch (parse_inside(skb, link, packet, now, &inner)) {
	case PARSED_NOT_IP:
		return outside;
	case PARSED_MALFORMED:
		return malformed;
	case PARSED_IP:
		break;
	}
	return decide_inside(decide_at(hook, &inner, now->strict), now->strict);
}

/* steer redirects what is to be encrypted, and leaves all else to the guard behind
 * it, uncounted: that one counts it.
 */
static __always_inline int steer(struct __sk_buff *skb, enum link link)
{
	struct settings now = current_settings();
	struct packet packet = {};

	if (!now.tunnel_ifindex || parse(skb, link, &packet) != PARSED_IP)
		return TC_ACT_UNSPEC;
	enum class destination = lookup(&packet.destination).class;
	if (destination != CLASS_remote_pod && destination != CLASS_remote_node)
		return TC_ACT_UNSPEC; /* most packets: no second lookup */
	struct decision decision = decide(lookup(&packet.source).class, destination, now.strict);
	if (decision.verdict != VERDICT_encrypt)
		return TC_ACT_UNSPEC;
	leave(skb, HOOK_egress, decision.verdict, decision.reason);
	untag(skb, packet.vlan_tags);
	return bpf_redirect(now.tunnel_ifindex, 0);
}

/* steer_l2 is for uplinks and overlay devices with an Ethernet header. */
SEC("tc")
int steer_l2(struct __sk_buff *skb)
{
	return steer(skb, LINK_ETHERNET);
}

/* steer_l3 is for those without a link-layer header: ipip, sit, gre, ppp, tun. */
SEC("tc")
int steer_l3(struct __sk_buff *skb)
{
	return steer(skb, LINK_NONE);
}

/* guard is the decision over a packet on an uplink or overlay device that is not on
 * its way into the tunnel. What should be is dropped.
 */
static __always_inline struct decision guard(struct __sk_buff *skb, enum link link, enum hook hook)
{
	struct settings now = current_settings();
	struct packet packet = {};

	struct decision decision = look(skb, link, hook, &now, &packet);
	if (decision.verdict == VERDICT_encrypt)
		return (struct decision){VERDICT_drop, now.tunnel_ifindex ? REASON_not_steered : REASON_no_tunnel};
	return decision;
}

/* guard_egress_l2 and its like only drop. They stand without steer: a packet that
 * meets the guard alone is not encrypted, and does not leave either.
 */
SEC("tc")
int guard_egress_l2(struct __sk_buff *skb)
{
	struct decision decision = guard(skb, LINK_ETHERNET, HOOK_egress);
	return leave(skb, HOOK_egress, decision.verdict, decision.reason);
}

SEC("tc")
int guard_egress_l3(struct __sk_buff *skb)
{
	struct decision decision = guard(skb, LINK_NONE, HOOK_egress);
	return leave(skb, HOOK_egress, decision.verdict, decision.reason);
}

/* What was decrypted does not come in here, but on the tunnel device. */
SEC("tc")
int guard_ingress_l2(struct __sk_buff *skb)
{
	struct decision decision = guard(skb, LINK_ETHERNET, HOOK_ingress);
	return leave(skb, HOOK_ingress, decision.verdict, decision.reason);
}

SEC("tc")
int guard_ingress_l3(struct __sk_buff *skb)
{
	struct decision decision = guard(skb, LINK_NONE, HOOK_ingress);
	return leave(skb, HOOK_ingress, decision.verdict, decision.reason);
}

/* backstop is the way out of the guards' twins behind them, which see what the
 * guards let go, and all when those are gone. What passes was counted before.
 */
static __always_inline int backstop(struct __sk_buff *skb, enum hook hook, struct decision decision)
{
	if (decision.verdict != VERDICT_drop)
		return TC_ACT_UNSPEC;
	return leave(skb, hook, decision.verdict, decision.reason);
}

SEC("tc")
int backstop_egress_l2(struct __sk_buff *skb)
{
	return backstop(skb, HOOK_egress, guard(skb, LINK_ETHERNET, HOOK_egress));
}

SEC("tc")
int backstop_egress_l3(struct __sk_buff *skb)
{
	return backstop(skb, HOOK_egress, guard(skb, LINK_NONE, HOOK_egress));
}

SEC("tc")
int backstop_ingress_l2(struct __sk_buff *skb)
{
	return backstop(skb, HOOK_ingress, guard(skb, LINK_ETHERNET, HOOK_ingress));
}

SEC("tc")
int backstop_ingress_l3(struct __sk_buff *skb)
{
	return backstop(skb, HOOK_ingress, guard(skb, LINK_NONE, HOOK_ingress));
}

/* tunnel_egress sees every packet before its encryption, redirected or routed. */
SEC("tc")
int tunnel_egress(struct __sk_buff *skb)
{
	struct packet packet = {};

	if (skb->vlan_present) /* see untag */
		return leave(skb, HOOK_tunnel_egress, VERDICT_drop, REASON_malformed);
	switch (parse(skb, LINK_NONE, &packet)) {
	case PARSED_NOT_IP:
		return leave(skb, HOOK_tunnel_egress, VERDICT_drop, REASON_not_ip);
	case PARSED_MALFORMED:
		return leave(skb, HOOK_tunnel_egress, VERDICT_drop, REASON_malformed);
	case PARSED_IP:
		break;
	}

	struct prefix destination = lookup(&packet.destination);
	struct decision decision = decide_tunnel_egress(lookup(&packet.source).class, destination.class);
	if (decision.verdict != VERDICT_encrypt)
		return leave(skb, HOOK_tunnel_egress, decision.verdict, decision.reason);
	if (packet.ipv6)
		skip_extensions(skb, LINK_NONE, &packet);
	if (too_long(skb, &packet))
		return refuse(skb, &packet);
	clamp_mss(skb, &packet);
	count_to_peer(skb, destination.peer);
	return leave(skb, HOOK_tunnel_egress, decision.verdict, decision.reason);
}

/* tunnel_ingress sees every packet after its decryption, before the host stack, and
 * what tunnel_egress answers.
 */
SEC("tc")
int tunnel_ingress(struct __sk_buff *skb)
{
	struct packet packet = {};

	switch (parse(skb, LINK_NONE, &packet)) {
	case PARSED_NOT_IP:
		return leave(skb, HOOK_tunnel_ingress, VERDICT_drop, REASON_not_ip);
	case PARSED_MALFORMED:
		return leave(skb, HOOK_tunnel_ingress, VERDICT_drop, REASON_malformed);
	case PARSED_IP:
		break;
	}

	struct decision decision = decide_tunnel_ingress(lookup(&packet.destination).class);
	if (decision.verdict != VERDICT_pass)
		return leave(skb, HOOK_tunnel_ingress, decision.verdict, decision.reason);
	if (take_answer(skb))
		return leave(skb, HOOK_tunnel_ingress, VERDICT_pass, REASON_mtu_answer);
	if (packet.ipv6)
		skip_extensions(skb, LINK_NONE, &packet);
	clamp_mss(skb, &packet);
	count_from_peer(skb, lookup(&packet.source).peer);
	return leave(skb, HOOK_tunnel_ingress, decision.verdict, decision.reason);
}

/* backstop_tunnel_ingress is the loop guard alone, for when tunnel_ingress is gone. */
SEC("tc")
int backstop_tunnel_ingress(struct __sk_buff *skb)
{
	struct packet packet = {};
	enum parsed parsed = parse(skb, LINK_NONE, &packet);
	struct decision decision = {VERDICT_drop, parsed == PARSED_NOT_IP ? REASON_not_ip : REASON_malformed};

	if (parsed == PARSED_IP)
		decision = decide_tunnel_ingress(lookup(&packet.destination).class);
	return backstop(skb, HOOK_tunnel_ingress, decision);
}
