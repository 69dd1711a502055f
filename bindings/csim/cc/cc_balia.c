/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * BALIA: Peng, Walid, Hwang, Low, "Multipath TCP: Analysis, Design, and Implementation", IEEE/ACM ToN 2016;
 * draft-walid-mptcp-congestion-control-04 section 2. x = w/r, alpha = max x_i / x.
 */
#include "cc.h"

static void balia_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	double segments = cc_avoidance_segments(sf, ack);

	if (segments <= 0.0)
		return;
	struct cc_coupling coupling = cc_couple(sf);

	if (coupling.n == 1) {
		cc_reno_avoid(sf, segments);
		return;
	}
	/* A segment ACKed gives x / (r (sum x_i)^2) * (1 + alpha)/2 * (4 + alpha)/5. With alpha = max/w in the caller's
	   unit of time, the powers of w cancel into one division. */
	double shape = (sf->cwnd + coupling.rate_max) * (4.0 * sf->cwnd + coupling.rate_max);

	sf->cwnd += segments * shape / (10.0 * sf->cwnd * (coupling.rate_sum * coupling.rate_sum));
}

/* A loss takes w/2 * min(alpha, 1.5). */
static double balia_ssthresh(struct subflow *sf)
{
	struct cc_coupling coupling = cc_couple(sf);

	if (coupling.n == 1)
		return cc_reno_ssthresh(sf);
	double alpha = coupling.rate_max / cc_window(sf);

	return cc_max(sf->cwnd - sf->cwnd / 2.0 * cc_min(alpha, 1.5), 2.0);
}

const struct cc_ops cc_balia = {
	.name = "balia",
	.on_ack = balia_on_ack,
	.ssthresh = balia_ssthresh,
};
