/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * EWTCP: Honda, Nishida, Eggert, Sarolahti, Tokuda, "Multipath Congestion Control for Shared Bottleneck", PFLDNeT 2009.
 * Each of n subflows grows by b/w for a segment ACKed. A rate goes with the square root of b, so b = 1/n^2 makes the n
 * together what one TCP is on a shared bottleneck.
 */
#include "cc.h"

static void ewtcp_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	double segments = cc_avoidance_segments(sf, ack);

	if (segments <= 0.0)
		return;
	double n = cc_couple(sf).n;

	sf->cwnd += segments / (n * n * sf->cwnd);
}

static double ewtcp_ssthresh(struct subflow *sf)
{
	return cc_reno_ssthresh(sf);
}

const struct cc_ops cc_ewtcp = {
	.name = "ewtcp",
	.on_ack = ewtcp_on_ack,
	.ssthresh = ewtcp_ssthresh,
};
