/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Reno: slow start and congestion avoidance of RFC 5681 section 3.1.
 */
#include "cc.h"

static void reno_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	double segments = cc_avoidance_segments(sf, ack);

	if (segments > 0.0)
		cc_reno_avoid(sf, segments);
}

static double reno_ssthresh(struct subflow *sf)
{
	return cc_reno_ssthresh(sf);
}

const struct cc_ops cc_reno = {
	.name = "reno",
	.on_ack = reno_on_ack,
	.ssthresh = reno_ssthresh,
};
