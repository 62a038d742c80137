/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* table.h: the decisions. They depend on classes alone, never on whether the
 * lookup of some single endpoint happened to succeed.
 */
#ifndef WGSTEER_TABLE_H
#define WGSTEER_TABLE_H

#include <stdbool.h>

#include "layout.h"

struct decision {
	enum verdict verdict;
	enum reason reason;
};

/* decide is the verdict over a packet that would leave the node. What is a drop
 * here, and passes where the policy is permissive, keeps its reason.
 */
static __always_inline struct decision decide(enum class source, enum class destination, bool strict)
{
	enum verdict refuse = strict ? VERDICT_drop : VERDICT_pass;

	switch (destination) {
	case CLASS_remote_pod:
		if (source == CLASS_local_pod || source == CLASS_local_node)
			return (struct decision){VERDICT_encrypt, REASON_to_remote_pod};
		return (struct decision){refuse, REASON_foreign_source};
	case CLASS_remote_node:
		if (source == CLASS_local_pod)
			return (struct decision){VERDICT_encrypt, REASON_to_remote_node};
		break;
	case CLASS_unknown_node:
		if (source == CLASS_local_pod)
			return (struct decision){refuse, REASON_unknown_node};
		break;
	case CLASS_cluster:
		return (struct decision){refuse, REASON_unknown_peer};
	case CLASS_local_pod:
		return (struct decision){refuse, REASON_misrouted};
	case CLASS_none:
	case CLASS_local_node:
		break;
	}
	return (struct decision){VERDICT_pass, REASON_not_pod_traffic};
}

/* decide_ingress is the verdict over a packet that came in outside of the
 * tunnel: the other end of what decide would encrypt or refuse.
 */
static __always_inline struct decision decide_ingress(enum class source, enum class destination, bool strict)
{
	enum verdict refuse = strict ? VERDICT_drop : VERDICT_pass;
	bool from_pod = source == CLASS_remote_pod || source == CLASS_cluster;

	if (from_pod || (source == CLASS_remote_node && destination == CLASS_local_pod))
		return (struct decision){refuse, REASON_plaintext_in};
	if (source == CLASS_unknown_node && destination == CLASS_local_pod)
		return (struct decision){refuse, REASON_unknown_node};
	return (struct decision){VERDICT_pass, REASON_not_pod_traffic};
}

/* decide_inside is the verdict over a packet that carries another one, given the
 * decision over that one on its own: what may not cross in plaintext may not do
 * so inside of another packet either.
 */
static __always_inline struct decision decide_inside(struct decision inner, bool strict)
{
	if (inner.reason == REASON_not_pod_traffic)
		return inner;
	return (struct decision){strict ? VERDICT_drop : VERDICT_pass, REASON_encapsulated_plaintext};
}

/* decide_tunnel_egress is the verdict over a packet that was redirected or
 * routed to the tunnel device: encrypt, or drop. The policy has no say, for
 * there is no plaintext way on from here.
 */
static __always_inline struct decision decide_tunnel_egress(enum class source, enum class destination)
{
	struct decision decision = decide(source, destination, true);
	if (decision.verdict == VERDICT_pass)
		return (struct decision){VERDICT_drop, REASON_not_for_tunnel};
	return decision;
}

/* decide_tunnel_ingress is the verdict over a decrypted packet. What is not for
 * this node would be routed out again: a loop.
 */
static __always_inline struct decision decide_tunnel_ingress(enum class destination)
{
	if (destination == CLASS_local_pod || destination == CLASS_local_node)
		return (struct decision){VERDICT_pass, REASON_to_local};
	return (struct decision){VERDICT_drop, REASON_misrouted};
}

#endif
