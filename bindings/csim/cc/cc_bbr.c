/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * BBR v1: draft-cardwell-iccrg-bbr-congestion-control-00, with the constants and the recovery of Linux's tcp_bbr.c.
 * Its model is the lowest RTT of 10 s and the highest delivery rate of 10 rounds. Long-term sampling, against policers,
 * is left out.
 */
#include "cc.h"

#define BBR_HIGH_GAIN 2.885		/* 2/ln 2, section 4.3.2.1 */
#define BBR_DRAIN_GAIN (1.0 / BBR_HIGH_GAIN)
#define BBR_CWND_GAIN 2.0
#define BBR_CYCLE_LENGTH 8
#define BBR_BW_ROUNDS 10		/* section 4.1.1.3 */
#define BBR_MIN_RTT_WINDOW_NS (10 * NS_PER_S)
#define BBR_PROBE_RTT_NS (200 * NS_PER_MS)
#define BBR_CWND_MIN 4.0
#define BBR_FULL_BW_GROWTH 1.25		/* section 4.3.2.2: three rounds without this growth and the pipe is full */
#define BBR_FULL_BW_ROUNDS 3
#define BBR_PACING_MARGIN 0.99		/* Linux: 1 % below the estimate keeps the queue from growing */
#define BBR_QUANTUM_SEGMENTS 3.0	/* 3 send quanta (section 4.2.3.2) of one segment: nothing is offloaded here */
#define BBR_DEFAULT_RTT_NS NS_PER_MS	/* section 4.2.1, before the first sample */
#define BBR_DEFAULT_CWND 10.0

enum bbr_mode { BBR_STARTUP, BBR_DRAIN, BBR_PROBE_BW, BBR_PROBE_RTT };

static const double bbr_cycle_gain[BBR_CYCLE_LENGTH] = { 1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0 };

static inline double bbr_bw(const struct bbr_state *bbr)
{
	return bbr->bw_filter[0];
}

/*
 * Windowed maximum over BBR_BW_ROUNDS rounds in three slots (K. Nichols): the best sample, and the best after it from
 * the later part of the window, so that an expiring best has a successor.
 */
static void bbr_bw_update(struct bbr_state *bbr, double bw)
{
	double *best = bbr->bw_filter;
	uint64_t *round = bbr->bw_round, now = bbr->round_count;
	int first;			/* slots from here on take the new sample */

	if (bw >= best[0] || now - round[2] > BBR_BW_ROUNDS)
		first = 0;
	else if (bw >= best[1])
		first = 1;
	else
		first = bw >= best[2] ? 2 : 3;
	for (int i = first; i < 3; i++) {
		best[i] = bw;
		round[i] = now;
	}
	for (int i = 0; i < 2 && now - round[0] > BBR_BW_ROUNDS; i++) {
		best[0] = best[1], round[0] = round[1];
		best[1] = best[2], round[1] = round[2];
		best[2] = bw, round[2] = now;
	}
	/* A runner-up as old as the best must be renewed after a quarter, and the third after half of the window. */
	if (round[1] == round[0] && now - round[0] > BBR_BW_ROUNDS / 4) {
		best[1] = best[2] = bw;
		round[1] = round[2] = now;
	} else if (round[2] == round[1] && now - round[1] > BBR_BW_ROUNDS / 2) {
		best[2] = bw;
		round[2] = now;
	}
}

static double bbr_initial_cwnd(const struct subflow *sf)
{
	double cwnd = sf->conn->config.initial_cwnd_segments;

	return cwnd > 0.0 ? cwnd : BBR_DEFAULT_CWND;
}

/* Section 4.2.3.2: gain * BDP and room for the quanta; even, because ACKs cover two; two more while probing up, so that
   even a small BDP gets above itself (Linux). */
static double bbr_inflight_target(const struct subflow *sf, double gain)
{
	const struct bbr_state *bbr = &sf->u.bbr;

	if (bbr->min_rtt_ns == 0)
		return bbr_initial_cwnd(sf);
	double target = ceil(gain * bbr_bw(bbr) * (double)bbr->min_rtt_ns / NS_PER_S) + BBR_QUANTUM_SEGMENTS;

	target = 2.0 * ceil(target / 2.0);
	return bbr->mode == BBR_PROBE_BW && bbr->cycle_index == 0 ? target + 2.0 : target;
}

static void bbr_cycle_enter(struct bbr_state *bbr, uint32_t index, int64_t now_ns)
{
	bbr->cycle_index = index;
	bbr->cycle_stamp_ns = now_ns;
}

/* Section 4.3.4.3: any phase but the draining one, at random (xorshift64*), so that flows do not probe in step. */
static void bbr_probe_bw_enter(struct bbr_state *bbr, int64_t now_ns)
{
	uint64_t x = bbr->rng_state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	bbr->rng_state = x;
	uint32_t draw = (uint32_t)((x * 0x2545f4914f6cdd1dULL) >> 33) % (BBR_CYCLE_LENGTH - 1);

	bbr->mode = BBR_PROBE_BW;
	bbr_cycle_enter(bbr, draw == 0 ? 0 : draw + 1, now_ns);
}

static void bbr_probe_rtt_leave(struct subflow *sf, int64_t now_ns)
{
	struct bbr_state *bbr = &sf->u.bbr;

	bbr->min_rtt_stamp_ns = now_ns;
	sf->cwnd = cc_max(sf->cwnd, bbr->prior_cwnd);
	if (sf->state < DRL_STATE_RECOVERY)
		bbr->prior_cwnd = 0.0;
	if (bbr->is_full_pipe)
		bbr_probe_bw_enter(bbr, now_ns);
	else
		bbr->mode = BBR_STARTUP;
}

/* Sections 4.1.1.2 and 4.1.1.3: rounds by delivered segments, and the rate filter. */
static void bbr_update_bw(struct bbr_state *bbr, const struct subflow *sf, const struct ack_info *ack)
{
	bbr->is_round_start = false;
	if (ack->rate_interval_ns <= 0)
		return;
	if (ack->rate_prior_delivered >= bbr->next_round_delivered) {
		bbr->next_round_delivered = sf->delivered_segments;
		bbr->round_count++;
		bbr->is_round_start = true;
	}
	if (bbr->is_conserving && ack->rate_prior_delivered >= bbr->conserve_until)
		bbr->is_conserving = false;
	double bw = (double)ack->rate_delivered * NS_PER_S / (double)ack->rate_interval_ns;

	/* A sample the application held down counts only if it raises the estimate. */
	if (!ack->is_rate_app_limited || bw >= bbr_bw(bbr))
		bbr_bw_update(bbr, bw);
}

/* Section 4.3.4.3: the gain of 1.25 holds until it has filled the pipe or lost, that of 0.75 until it is drained at
   most. */
static void bbr_update_cycle(struct subflow *sf, const struct ack_info *ack)
{
	struct bbr_state *bbr = &sf->u.bbr;
	double gain = bbr_cycle_gain[bbr->cycle_index];
	double inflight = ack->prior_inflight_segments;

	if (bbr->mode != BBR_PROBE_BW)
		return;
	bool is_over = ack->now_ns - bbr->cycle_stamp_ns > bbr->min_rtt_ns;

	if (gain > 1.0)
		is_over = is_over && (ack->lost_segments > 0 || inflight >= bbr_inflight_target(sf, gain));
	else if (gain < 1.0)
		is_over = is_over || inflight <= bbr_inflight_target(sf, 1.0);
	if (is_over)
		bbr_cycle_enter(bbr, (bbr->cycle_index + 1) % BBR_CYCLE_LENGTH, ack->now_ns);
}

/* Sections 4.3.2.2 and 4.3.3: Startup ends at the plateau of the rate, Drain when inflight is down to one BDP. */
static void bbr_update_startup(struct subflow *sf, const struct ack_info *ack)
{
	struct bbr_state *bbr = &sf->u.bbr;

	if (!bbr->is_full_pipe && bbr->is_round_start && !ack->is_rate_app_limited) {
		if (bbr_bw(bbr) >= bbr->full_bw * BBR_FULL_BW_GROWTH) {
			bbr->full_bw = bbr_bw(bbr);
			bbr->full_bw_count = 0;
		} else {
			bbr->is_full_pipe = ++bbr->full_bw_count >= BBR_FULL_BW_ROUNDS;
		}
	}
	if (bbr->mode == BBR_STARTUP && bbr->is_full_pipe) {
		bbr->mode = BBR_DRAIN;
		sf->ssthresh = bbr_inflight_target(sf, 1.0);
	}
	if (bbr->mode == BBR_DRAIN && (double)subflow_inflight(sf) <= bbr_inflight_target(sf, 1.0))
		bbr_probe_bw_enter(bbr, ack->now_ns);
}

/* Sections 4.1.2.2 and 4.3.5: the RTT filter; when no lower RTT has come for 10 s (Linux; an equal one does not do),
   ProbeRTT: four segments for 200 ms and a round. */
static void bbr_update_min_rtt(struct subflow *sf, const struct ack_info *ack)
{
	struct bbr_state *bbr = &sf->u.bbr;
	bool is_expired = ack->now_ns > bbr->min_rtt_stamp_ns + BBR_MIN_RTT_WINDOW_NS;

	if (ack->rtt_ns > 0 && (bbr->min_rtt_ns == 0 || ack->rtt_ns < bbr->min_rtt_ns || is_expired)) {
		bbr->min_rtt_ns = ack->rtt_ns;
		bbr->min_rtt_stamp_ns = ack->now_ns;
	}
	if (is_expired && !bbr->is_idle_restart && bbr->mode != BBR_PROBE_RTT) {
		bbr->mode = BBR_PROBE_RTT;
		bbr->prior_cwnd = cc_max(bbr->prior_cwnd, sf->cwnd);
		bbr->probe_rtt_done_ns = 0;
	}
	if (bbr->mode == BBR_PROBE_RTT) {
		uint32_t inflight = subflow_inflight(sf);

		/* The low rates of this phase are its own doing. */
		sf->app_limited_until = sf->delivered_segments + (inflight > 0 ? inflight : 1);
		if (bbr->probe_rtt_done_ns == 0) {
			if (inflight <= BBR_CWND_MIN) {
				bbr->probe_rtt_done_ns = ack->now_ns + BBR_PROBE_RTT_NS;
				bbr->is_probe_rtt_round_done = false;
				bbr->next_round_delivered = sf->delivered_segments;
			}
		} else {
			bbr->is_probe_rtt_round_done |= bbr->is_round_start;
			if (bbr->is_probe_rtt_round_done && ack->now_ns > bbr->probe_rtt_done_ns)
				bbr_probe_rtt_leave(sf, ack->now_ns);
		}
	}
	if (ack->delivered_segments > 0)
		bbr->is_idle_restart = false;
}

static void bbr_update_gains(struct bbr_state *bbr)
{
	switch ((enum bbr_mode)bbr->mode) {
	case BBR_STARTUP:
		bbr->pacing_gain = bbr->cwnd_gain = BBR_HIGH_GAIN;
		break;
	case BBR_DRAIN:
		bbr->pacing_gain = BBR_DRAIN_GAIN;
		bbr->cwnd_gain = BBR_HIGH_GAIN;
		break;
	case BBR_PROBE_BW:
		bbr->pacing_gain = bbr_cycle_gain[bbr->cycle_index];
		bbr->cwnd_gain = BBR_CWND_GAIN;
		break;
	case BBR_PROBE_RTT:
		bbr->pacing_gain = bbr->cwnd_gain = 1.0;
		break;
	}
}

/* Section 4.2.1; wire bytes, as the core paces. Before the pipe is full the rate only rises: the first samples are
   short of the path. */
static void bbr_set_pacing(struct subflow *sf)
{
	const struct bbr_state *bbr = &sf->u.bbr;
	/* Section 4.3.4.4: after idling a flow in ProbeBW starts at the estimate, no faster. */
	double gain = bbr->is_idle_restart && bbr->mode == BBR_PROBE_BW ? 1.0 : bbr->pacing_gain;
	double rate = BBR_PACING_MARGIN * gain * bbr_bw(bbr) * (sf->mss_bytes + CCDRL_HEADER_BYTES);

	if (rate > 0.0 && (bbr->is_full_pipe || rate > sf->pacing_bytes_per_s))
		sf->pacing_bytes_per_s = rate;
}

/* Section 4.2.3. */
static void bbr_set_cwnd(struct subflow *sf, const struct ack_info *ack)
{
	struct bbr_state *bbr = &sf->u.bbr;
	double delivered = ack->delivered_segments;

	if (delivered > 0.0) {
		double target = bbr_inflight_target(sf, bbr->cwnd_gain);

		/* Section 4.2.3.4: losses come off at once; in the first round of recovery one packet in for one out. */
		if (sf->state >= DRL_STATE_RECOVERY)
			sf->cwnd = cc_max(sf->cwnd - ack->lost_segments, 1.0);
		if (bbr->is_conserving) {
			sf->cwnd = cc_max(sf->cwnd, subflow_inflight(sf) + delivered);
		} else {
			if (bbr->is_full_pipe)
				sf->cwnd = cc_min(sf->cwnd + delivered, target);
			else if (sf->cwnd < target || (double)sf->delivered_segments < bbr_initial_cwnd(sf))
				sf->cwnd += delivered;
			sf->cwnd = cc_max(sf->cwnd, BBR_CWND_MIN);
		}
	}
	if (bbr->mode == BBR_PROBE_RTT)
		sf->cwnd = cc_min(sf->cwnd, BBR_CWND_MIN);
}

static void bbr_init(struct subflow *sf)
{
	struct bbr_state *bbr = &sf->u.bbr;
	int64_t rtt_ns = sf->srtt_ns > 0 ? sf->srtt_ns : BBR_DEFAULT_RTT_NS;
	/* One stream of draws for each subflow (splitmix64's mixing); never 0. */
	uint64_t x = sf->sim->seed + 0x9e3779b97f4a7c15ULL * (1 + sf->conn->index * (uint64_t)DRL_SUBFLOWS_MAX + sf->index);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	bbr->rng_state = (x ^ (x >> 31)) | 1;
	bbr->min_rtt_ns = sf->min_rtt_ns;
	bbr->min_rtt_stamp_ns = sf->sim->now_ns;
	bbr_update_gains(bbr);
	sf->pacing_bytes_per_s = BBR_HIGH_GAIN * sf->cwnd * (sf->mss_bytes + CCDRL_HEADER_BYTES) * NS_PER_S / (double)rtt_ns;
}

static void bbr_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	struct bbr_state *bbr = &sf->u.bbr;

	bbr_update_bw(bbr, sf, ack);
	bbr_update_cycle(sf, ack);
	bbr_update_startup(sf, ack);
	bbr_update_min_rtt(sf, ack);
	bbr_update_gains(bbr);
	bbr_set_cwnd(sf, ack);
	/* An empty pipe and nothing to send: the next transmission is a restart from idle. */
	if (subflow_inflight(sf) == 0 && sf->app_limited_until > 0)
		bbr->is_idle_restart = true;
	bbr_set_pacing(sf);
}

/* BBR has no use for ssthresh; the call marks an episode, whose end restores the window. */
static double bbr_ssthresh(struct subflow *sf)
{
	sf->u.bbr.prior_cwnd = cc_max(sf->u.bbr.prior_cwnd, sf->cwnd);
	return sf->ssthresh;
}

/* Section 4.2.3.4. */
static void bbr_on_state(struct subflow *sf, enum drl_state old_state)
{
	struct bbr_state *bbr = &sf->u.bbr;

	if (sf->state == DRL_STATE_LOSS) {
		bbr->full_bw = 0.0;		/* the path may have changed: the plateau is sought again */
		bbr->is_round_start = true;
		bbr->is_conserving = false;
	} else if (sf->state == DRL_STATE_RECOVERY && old_state < DRL_STATE_RECOVERY) {
		bbr->is_conserving = true;
		bbr->conserve_until = bbr->next_round_delivered = sf->delivered_segments;
		sf->cwnd = cc_max(subflow_inflight(sf), 1.0);
	} else if (sf->state < DRL_STATE_RECOVERY) {
		bbr->is_conserving = false;
		if (old_state >= DRL_STATE_RECOVERY)
			sf->cwnd = cc_max(sf->cwnd, bbr->prior_cwnd);
		if (sf->state != DRL_STATE_CWR && bbr->mode != BBR_PROBE_RTT)
			bbr->prior_cwnd = 0.0;
	}
}

/* Linux: nothing was lost, so Startup may go on. */
static void bbr_on_undo(struct subflow *sf)
{
	sf->u.bbr.full_bw = 0.0;
	sf->u.bbr.full_bw_count = 0;
}

const struct cc_ops cc_bbr = {
	.name = "bbr",
	.owns_recovery = true,
	.init = bbr_init,
	.on_ack = bbr_on_ack,
	.ssthresh = bbr_ssthresh,
	.on_state = bbr_on_state,
	.on_undo = bbr_on_undo,
};
