/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * wVegas: Cao, Xu, Fu, "Delay-based Congestion Control for Multipath TCP", ICNP 2012;
 * draft-xu-mptcp-congestion-control-05.
 * Once a round trip the number of segments that queue is compared with a share, alpha, of a total for the connection.
 */
#include "cc.h"

#define WVEGAS_TOTAL_ALPHA 10.0	/* segments that the connection keeps queued */
#define WVEGAS_ALPHA_MIN 2.0
#define WVEGAS_GAMMA 1.0	/* segments queued that end slow start */
#define WVEGAS_CWND_MIN 2.0
#define WVEGAS_SAMPLES_MIN 3	/* fewer in a round: Reno, as Linux; a delayed ACK would weigh too much */

static void wvegas_restart(struct subflow *sf)
{
	struct wvegas_state *wvegas = &sf->u.wvegas;

	wvegas->round_end_seq = sf->snd_nxt;
	wvegas->rtt_samples = 0;
	wvegas->rtt_sum_ns = 0;
	wvegas->queue_delay_min_ns = 0;
	wvegas->expected_rate = 0.0;
	wvegas->alpha = WVEGAS_ALPHA_MIN;
	wvegas->weight = 1.0;
}

static void wvegas_rtt_sample(struct wvegas_state *wvegas, int64_t rtt_ns)
{
	if (rtt_ns <= 0)
		return;
	if (wvegas->base_rtt_ns == 0 || rtt_ns < wvegas->base_rtt_ns)
		wvegas->base_rtt_ns = rtt_ns;
	wvegas->rtt_sum_ns += rtt_ns;
	wvegas->rtt_samples++;
}

/* Weight: the subflow's part of the rate of all that have measured one. Its alpha follows from it. */
static void wvegas_alpha_update(struct subflow *sf, double rtt_ns)
{
	struct wvegas_state *wvegas = &sf->u.wvegas;
	double rate_sum = 0.0;

	wvegas->expected_rate = sf->cwnd * NS_PER_S / rtt_ns;
	for (uint32_t i = 0; i < sf->conn->n_subflows; i++) {
		const struct subflow *sibling = &sf->conn->subflows[i];

		if (sibling == sf || cc_is_counted(sibling))
			rate_sum += sibling->u.wvegas.expected_rate;
	}
	wvegas->weight = wvegas->expected_rate / rate_sum;
	wvegas->alpha = cc_max(WVEGAS_ALPHA_MIN, floor(wvegas->weight * WVEGAS_TOTAL_ALPHA));
}

/* When the queueing delay is at least twice the lowest since the last time: drain the queue, so that everybody on the
   link measures the base RTT again. Below one whole segment queued there is nothing to drain: that is the unevenness of
   ACK clocking, which here, without the noise of real hosts, would double from round to round all the time. */
static void wvegas_drain(struct subflow *sf, int64_t rtt_ns, double diff)
{
	struct wvegas_state *wvegas = &sf->u.wvegas;
	int64_t queue_delay_ns = rtt_ns - wvegas->base_rtt_ns;

	if (diff < 1.0)
		return;
	if (wvegas->queue_delay_min_ns == 0 || queue_delay_ns < wvegas->queue_delay_min_ns)
		wvegas->queue_delay_min_ns = queue_delay_ns;
	if (queue_delay_ns < 2 * wvegas->queue_delay_min_ns)
		return;
	sf->cwnd *= (double)wvegas->base_rtt_ns / (2.0 * (double)rtt_ns);
	wvegas->queue_delay_min_ns = 0;
}

/* The end of a round: one decision. */
static void wvegas_round(struct subflow *sf, const struct ack_info *ack)
{
	struct wvegas_state *wvegas = &sf->u.wvegas;
	int64_t rtt_ns = wvegas->rtt_sum_ns / wvegas->rtt_samples;
	double uncongested = sf->cwnd * (double)wvegas->base_rtt_ns / (double)rtt_ns;
	double diff = floor(sf->cwnd - uncongested);	/* whole segments: a window that fits stays */

	if (subflow_is_in_slow_start(sf)) {
		if (diff > WVEGAS_GAMMA) {
			sf->cwnd = cc_min(sf->cwnd, uncongested + 1.0);
			sf->ssthresh = cc_min(sf->ssthresh, sf->cwnd);
		} else if (cc_may_grow(sf, ack)) {
			(void)cc_slow_start(sf, ack->acked_segments);
		}
	} else {
		if (diff >= wvegas->alpha)
			wvegas_alpha_update(sf, (double)rtt_ns);
		if (diff > wvegas->alpha) {
			sf->cwnd -= 1.0;
			sf->ssthresh = cc_min(sf->ssthresh, sf->cwnd);
		} else if (diff < wvegas->alpha && cc_may_grow(sf, ack)) {
			sf->cwnd += 1.0;
		}
		wvegas_drain(sf, rtt_ns, diff);
	}
	sf->cwnd = cc_max(sf->cwnd, WVEGAS_CWND_MIN);
	/* As Linux: after a drain slow start takes the window back to where the path was filled. */
	sf->ssthresh = cc_max(sf->ssthresh, 0.75 * sf->cwnd);
}

static void wvegas_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	struct wvegas_state *wvegas = &sf->u.wvegas;
	double segments;

	wvegas_rtt_sample(wvegas, ack->rtt_ns);
	if (sf->state == DRL_STATE_OPEN && cc_round_is_over(sf, wvegas->round_end_seq)) {
		bool is_measured = wvegas->rtt_samples >= WVEGAS_SAMPLES_MIN;

		wvegas->round_end_seq = sf->snd_nxt;
		if (is_measured)
			wvegas_round(sf, ack);
		wvegas->rtt_samples = 0;
		wvegas->rtt_sum_ns = 0;
		if (is_measured)
			return;
	} else if (sf->state == DRL_STATE_OPEN && !subflow_is_in_slow_start(sf)) {
		return;
	}
	/* Slow start, rounds of too few samples, and after a loss: Reno. */
	segments = cc_avoidance_segments(sf, ack);
	if (segments > 0.0)
		cc_reno_avoid(sf, segments);
}

static double wvegas_ssthresh(struct subflow *sf)
{
	return cc_reno_ssthresh(sf);
}

static void wvegas_on_state(struct subflow *sf, enum drl_state old_state)
{
	(void)old_state;
	if (sf->state == DRL_STATE_OPEN)
		wvegas_restart(sf);
	else if (sf->state == DRL_STATE_LOSS)
		sf->u.wvegas.expected_rate = 0.0;	/* no part in the siblings' weights */
}

const struct cc_ops cc_wvegas = {
	.name = "wvegas",
	.init = wvegas_restart,
	.on_ack = wvegas_on_ack,
	.ssthresh = wvegas_ssthresh,
	.on_state = wvegas_on_state,
};
