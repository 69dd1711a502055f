/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * CUBIC (RFC 9438, with the steps of Linux's tcp_cubic.c) with HyStart++ (RFC 9406) in the initial slow start.
 */
#include "hystart.h"

#define CUBIC_C 0.4		/* segments/s^3, RFC 9438 section 5 */
#define CUBIC_BETA 0.7		/* section 4.6 */
#define CUBIC_ALPHA (3.0 * (1.0 - CUBIC_BETA) / (1.0 + CUBIC_BETA))	/* section 4.3 */
#define CUBIC_COUNT_MIN 2.0	/* section 4.4: at most half as much again in a round trip */
#define CUBIC_PLATEAU_WINDOWS 100.0	/* Linux: a segment for so many windows where the curve asks for none */
#define CUBIC_UNKNOWN_COUNT 20.0	/* Linux: 5 % a round trip at least while no W_max is known */

static void cubic_init(struct subflow *sf)
{
	hystart_init(sf);
}

/*
 * epoch_start_ns: > 0 the congestion avoidance stage began then; 0 it has yet to begin; < 0 the stage stands still with
 * -epoch_start_ns behind it. Section 4.2: time in which the window was not used does not count.
 */
static void cubic_epoch_pause(struct cubic_state *cubic, int64_t now_ns)
{
	if (cubic->epoch_start_ns > 0)
		cubic->epoch_start_ns -= now_ns;
}

static void cubic_epoch_run(struct subflow *sf, int64_t now_ns)
{
	struct cubic_state *cubic = &sf->u.cubic;

	if (cubic->epoch_start_ns > 0)
		return;
	if (cubic->epoch_start_ns < 0) {
		cubic->epoch_start_ns += now_ns;
		return;
	}
	cubic->epoch_start_ns = now_ns;
	cubic->w_est = sf->cwnd;
	/* Section 4.2, figure 2; without a W_max above the window (slow start or a time-out before, section 4.8) K = 0. */
	if (cubic->w_max > sf->cwnd) {
		cubic->k_s = cbrt((cubic->w_max - sf->cwnd) / CUBIC_C);
		cubic->origin_point = cubic->w_max;
	} else {
		cubic->k_s = 0.0;
		cubic->origin_point = sf->cwnd;
	}
}

/* Section 4.2, figure 1: W_cubic(t) = C (t - K)^3 + W_max. */
static double cubic_window(const struct cubic_state *cubic, double t_s)
{
	double offset_s = t_s - cubic->k_s;

	return CUBIC_C * offset_s * offset_s * offset_s + cubic->origin_point;
}

/*
 * In whole segments, as tcp_cubic.c of Linux counts: every `count` segments ACKed are worth one. At windows of a few segments
 * the rounding is a tenth of the throughput.
 */
static void cubic_avoid(struct subflow *sf, double segments, int64_t now_ns)
{
	struct cubic_state *cubic = &sf->u.cubic;

	cubic_epoch_run(sf, now_ns);
	double cwnd = floor(sf->cwnd), t_s = (double)(now_ns - cubic->epoch_start_ns + sf->min_rtt_ns) / NS_PER_S;

	/* Sections 4.2, 4.4 and 4.5: towards the window of one round trip ahead. */
	double ahead = floor(cubic_window(cubic, t_s)) - cwnd;
	double count = ahead >= 1.0 ? floor(cwnd / ahead) : CUBIC_PLATEAU_WINDOWS * cwnd;

	if (cubic->w_max == 0.0)
		count = cc_min(count, CUBIC_UNKNOWN_COUNT);
	/* Section 4.3, figure 4: what Reno would have. As Linux (and RFC 8312), always with the slope that makes up for the smaller
	   decrease; RFC 9438 goes over to Reno's own once it has. */
	cubic->w_est += CUBIC_ALPHA * segments / cwnd;
	double behind = floor(cubic->w_est) - cwnd;

	if (behind >= 1.0)
		count = cc_min(count, floor(cwnd / behind));
	sf->cwnd += segments / cc_max(count, CUBIC_COUNT_MIN);
}

static void cubic_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	struct cubic_state *cubic = &sf->u.cubic;
	double segments = ack->acked_segments;

	if (!cubic->is_hystart_done && subflow_is_in_slow_start(sf))
		hystart_on_ack(sf, ack);
	if (!cc_may_grow(sf, ack)) {
		if (!ack->is_cwnd_limited)
			cubic_epoch_pause(cubic, ack->now_ns);
		return;
	}
	if (cubic->is_in_css)
		segments /= HYSTART_CSS_GROWTH_DIVISOR;
	segments = cc_slow_start(sf, segments);
	if (segments <= 0.0)
		return;
	if (sf->srtt_ns > 0)
		cubic_avoid(sf, segments, ack->now_ns);
	else
		cc_reno_avoid(sf, segments);
}

static double cubic_ssthresh(struct subflow *sf)
{
	struct cubic_state *cubic = &sf->u.cubic;

	hystart_stop(sf);
	cubic->epoch_start_ns = 0;
	/* Section 4.7, fast convergence: a window that stayed below the last W_max leaves room for newcomers. */
	cubic->w_max = sf->cwnd < cubic->w_max ? sf->cwnd * (1.0 + CUBIC_BETA) / 2.0 : sf->cwnd;
	return cc_max(sf->cwnd * CUBIC_BETA, 2.0);
}

static void cubic_on_state(struct subflow *sf, enum drl_state old_state)
{
	(void)old_state;
	/* Section 4.8: after a time-out the next congestion avoidance begins at its own W_max, K = 0. */
	if (sf->state == DRL_STATE_LOSS)
		sf->u.cubic.w_max = 0.0;
}

/* Section 4.9.1. Below W_max the curve through the restored window with the former plateau is the former curve, so W_max
   is all that has to come back; above it the convex part starts anew, which is the cautious side. */
static void cubic_on_undo(struct subflow *sf)
{
	sf->u.cubic.w_max = sf->u.cubic.origin_point;
	sf->u.cubic.epoch_start_ns = 0;
}

const struct cc_ops cc_cubic = {
	.name = "cubic",
	.init = cubic_init,
	.on_ack = cubic_on_ack,
	.ssthresh = cubic_ssthresh,
	.on_state = cubic_on_state,
	.on_undo = cubic_on_undo,
};
