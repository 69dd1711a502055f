/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A constant window, whatever is lost: the instrument for tests of everything that is not congestion control.
 */
#include "cc.h"

static double fixed_ssthresh(struct subflow *sf)
{
	return sf->conn->config.fixed_cwnd_segments;
}

static void fixed_init(struct subflow *sf)
{
	sf->cwnd = sf->ssthresh = fixed_ssthresh(sf);
}

static void fixed_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	(void)ack;
	sf->cwnd = fixed_ssthresh(sf);
}

static void fixed_on_state(struct subflow *sf, enum drl_state old_state)
{
	(void)old_state;
	sf->cwnd = fixed_ssthresh(sf);		/* a time-out has collapsed it */
}

const struct cc_ops cc_fixed = {
	.name = "fixed",
	.owns_recovery = true,
	.init = fixed_init,
	.on_ack = fixed_on_ack,
	.ssthresh = fixed_ssthresh,
	.on_state = fixed_on_state,
};
