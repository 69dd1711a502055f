/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * HyStart++ (RFC 9406): leaves slow start when the lowest RTT of a round has risen, through Conservative Slow Start
 * (CSS), which goes back to slow start if the rise was jitter. Initial slow start only (section 4.3).
 */
#ifndef CCDRL_HYSTART_H
#define CCDRL_HYSTART_H

#include "cc.h"

/* Section 4.3 */
#define HYSTART_RTT_THRESH_MIN_NS (4 * NS_PER_MS)
#define HYSTART_RTT_THRESH_MAX_NS (16 * NS_PER_MS)
#define HYSTART_RTT_DIVISOR 8
#define HYSTART_RTT_SAMPLES 8
#define HYSTART_CSS_GROWTH_DIVISOR 4.0
#define HYSTART_CSS_ROUNDS 5

static inline int64_t hystart_rtt_thresh_ns(int64_t last_round_min_rtt_ns)
{
	int64_t thresh = last_round_min_rtt_ns / HYSTART_RTT_DIVISOR;

	if (thresh < HYSTART_RTT_THRESH_MIN_NS)
		return HYSTART_RTT_THRESH_MIN_NS;
	return thresh > HYSTART_RTT_THRESH_MAX_NS ? HYSTART_RTT_THRESH_MAX_NS : thresh;
}

static inline void hystart_init(struct subflow *sf)
{
	sf->u.cubic.round_end_seq = sf->snd_nxt;
}

/* Section 4.2, for each ACK in initial slow start. A lowest RTT of 0 stands for the RFC's infinity: no sample. */
static inline void hystart_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	struct cubic_state *state = &sf->u.cubic;

	if (ack->rtt_ns > 0) {
		if (state->round_min_rtt_ns == 0 || ack->rtt_ns < state->round_min_rtt_ns)
			state->round_min_rtt_ns = ack->rtt_ns;
		state->rtt_samples++;
	}
	if (state->rtt_samples >= HYSTART_RTT_SAMPLES) {
		if (state->is_in_css) {
			if (state->round_min_rtt_ns < state->css_baseline_min_rtt_ns)
				state->is_in_css = false;	/* the rise has gone: slow start resumes */
		} else if (state->last_round_min_rtt_ns > 0 && state->round_min_rtt_ns >=
		    state->last_round_min_rtt_ns + hystart_rtt_thresh_ns(state->last_round_min_rtt_ns)) {
			state->is_in_css = true;
			state->css_baseline_min_rtt_ns = state->round_min_rtt_ns;
			state->css_rounds = 0;
		}
	}
	if (!cc_round_is_over(sf, state->round_end_seq))
		return;
	state->round_end_seq = sf->snd_nxt;
	state->last_round_min_rtt_ns = state->round_min_rtt_ns;
	state->round_min_rtt_ns = 0;
	state->rtt_samples = 0;
	/* The round in which CSS began counts as one. */
	if (state->is_in_css && ++state->css_rounds >= HYSTART_CSS_ROUNDS) {
		state->is_in_css = false;
		state->is_hystart_done = true;
		sf->ssthresh = sf->cwnd;
	}
}

/* Congestion ends the initial slow start. */
static inline void hystart_stop(struct subflow *sf)
{
	sf->u.cubic.is_in_css = false;
	sf->u.cubic.is_hystart_done = true;
}

#endif /* CCDRL_HYSTART_H */
