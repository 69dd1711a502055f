/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * LIA, "Coupled Congestion Control for Multipath Transport Protocols", RFC 6356 section 3. It keeps no state of its
 * own, so that the fallback of a DRL subflow can run it over whatever the union holds.
 */
#include "cc.h"

static void lia_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	double segments = cc_avoidance_segments(sf, ack);

	if (segments <= 0.0)
		return;
	struct cc_coupling coupling = cc_couple(sf);
	double total = coupling.rate_sum * coupling.rate_sum;

	/* Section 3: alpha = W max(w_i/r_i^2) / (sum w_i/r_i)^2; a segment ACKed gives min(alpha/W, 1/w). W cancels:
	   alpha/W = lia_max/total. Comparing first leaves one division. */
	if (coupling.n > 1 && coupling.lia_max * sf->cwnd < total)
		sf->cwnd += segments * coupling.lia_max / total;
	else
		cc_reno_avoid(sf, segments);
}

static double lia_ssthresh(struct subflow *sf)
{
	return cc_reno_ssthresh(sf);		/* section 3: the decrease is Reno's */
}

const struct cc_ops cc_lia = {
	.name = "lia",
	.on_ack = lia_on_ack,
	.ssthresh = lia_ssthresh,
};
