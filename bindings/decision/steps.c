/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a window does apart from the policy, in each interval: the coupled step, the dither, and whether the queue that it
 * stands in is somebody else's, so that only the coupled step counts.
 */
#include <math.h>

#include "sample.h"

/*
 * A window that never moves cannot tell whose queue it stands in. So it swings: a sine of this many srtt, with this part
 * of log2(srtt / base) up to the limit, so that our part of the queue is never swung empty.
 */
#define TURN 6.283185307179586
#define DITHER_PERIODS 9.0
#define DITHER_PART 0.3
#define DITHER_MAX 0.115
/* Windows are whole segments, so that a small one swings by one. */
#define DITHER_SEGMENT_MAX 0.3
#define DITHER_FLOOR 1e-4
/*
 * A queue that stands and does not answer to our swing is not ours: beside strangers the coupling alone decides, whose shares
 * are AIMD's. Below this variance of the dither nothing is known.
 */
#define ALIEN_QUEUE 0.3
#define ALIEN_VARIANCE 0.0008
#define ALIEN_RESPONSE 0.4
/*
 * The wait of a delayed ACK in Linux and FreeBSD (500 ms at most, RFC 5681 section 4.2). A window below the segments here may
 * wait so long once a window; a larger one has the next segment there before.
 */
#define DELAYED_ACK_US 40e3
#define DELAYED_ACK_SEGMENTS 8.0
/*
 * A coupled window's decrease, and its increase against BALIA's. As much as BALIA with its halving would be 0.45 (RFC 9438 section
 * 4.3); agents then have less than a TCP's share, as they start carefully, so it is more. And it grows with the window, as
 * HighSpeed TCP's does from the same number of segments on, if faster there (RFC 3649 section 5): what a start leaves to others in
 * large windows would not come back within a minute, and small ones took more than a TCP does (docs/experiments.md). A path worse
 * than the best one of its connection decreases by up to COUPLED_CUT_MAX as much.
 */
#define COUPLED_BETA 0.74
#define COUPLED_CUT_MAX 1.3
#define COUPLED_STEP_MAX 1.0
#define COUPLED_INCREASE 0.85	/* at so many segments: */
#define COUPLED_SEGMENTS 38.0
#define COUPLED_EXPONENT 0.3
/*
 * Where losses come with the queue but no queue stands, in shallow buffers and behind AQMs, so that the link stays full in a buffer
 * of a tenth of a BDP. RFC 9438 section 4.3 has 0.16 of an increase for this decrease beside a Reno; but there whoever holds the
 * larger window loses less often than its part, so it is less (docs/experiments.md).
 */
#define CONGESTED_BETA 0.9
#define CONGESTED_INCREASE 0.1
/*
 * A path whose queue stays empty has more to give than the window asks for, and AIMD would be long about it. After so many srtt
 * the step is this many log2 per round, twice as much with every srtt, up to the limit. Networks learn that a queue is mostly empty
 * for a moment only and wait, so that actions do not take it away.
 */
#define RISE_BEGIN 1.0
#define RISE_FIRST 0.2
#define RISE_MAX 0.6

/*
 * Where agents meet in a short queue nobody loses, and an increase alone finds no shares. Vegas does (Brakmo and Peterson, "TCP
 * Vegas: End to End Congestion Avoidance on a Global Internet", JSAC 1995): each window keeps so much of itself in the queue, here
 * the first over the root of its segments. Over several paths it is shared out by the rates, as in wVegas (draft-xu-mptcp-congestion-
 * control section 3.2). What is held is our part of the queue, that is, as much of it as answers to our swing: until so
 * much is known of that as the prior is worth, the prior's.
 */
#define LEAD_PART 0.8
#define LEAD_QUEUE 0.05
#define LEAD_PRIOR_RESPONSE 0.2
#define LEAD_PRIOR_VARIANCE 0.0004

static double regress(double covariance, double variance) { return covariance / (variance + DITHER_FLOOR); }

double ccdrl_dither_response(const struct ccdrl_row *row, double covariance)
{
	return regress(covariance, row->dither_variance);
}

static int row_starts(const struct ccdrl_row *row, const struct ccdrl_step *step)
{
	return row->is_startup || step->cwnd < row->restart;
}

static int row_rises(const struct ccdrl_row *row, const struct ccdrl_step *step)
{
	return !row_starts(row, step) && row->since_queue > RISE_BEGIN;
}

/*
 * What a window that is coupled over the connection would have been multiplied by, log2: BALIA (Peng et al., "Multipath TCP:
 * Analysis, Design, and Implementation", ToN 2016, section V): an increase for what was acknowledged, a decrease at a loss
 * event. Slow start in start-up, and after a time-out up to ssthresh (by the datapath itself as long as it says so).
 */
static double coupled_step(const struct ccdrl_step *step, const struct ccdrl_row *row, const struct ccdrl_group *group)
{
	double speed = step->cwnd / step->srtt, behind = group->best_speed / speed, rounds, per_round, rise = 0.0;
	double beta = row->steps.is_congested > 0.0 ? CONGESTED_BETA : COUPLED_BETA;
	double increase = row->steps.is_congested > 0.0 ? CONGESTED_INCREASE
	    : COUPLED_INCREASE * pow(step->cwnd / (COUPLED_SEGMENTS * step->mss), COUPLED_EXPONENT);

	if (step->is_first || step->is_timeout)
		return 0.0;
	if (step->is_event)
		return log2(1.0 - (1.0 - beta) * at_most(behind, COUPLED_CUT_MAX));
	if (step->is_limited)
		return 0.0;
	rounds = at_most(step->acked / step->cwnd, at_least(step->periods, 1.0));
	if (row_starts(row, step))
		return at_most(log2(1.0 + rounds), COUPLED_STEP_MAX);
	if (row->since_signal < 1.0)
		return 0.0;
	per_round = speed / step->srtt / (group->speed * group->speed) * (1.0 + behind) / 2.0 * (4.0 + behind) / 5.0;
	per_round = increase * step->mss * at_most(per_round, 1.0 / step->cwnd);
	if (row_rises(row, step))
		rise = rounds * at_most(RISE_FIRST * exp2(row->since_queue - RISE_BEGIN), RISE_MAX);
	return at_most(at_least(log2(1.0 + rounds * per_round), rise), COUPLED_STEP_MAX);
}

/* How far the window swings, log2: never so far that our part of the queue is swung empty, and not while nothing comes back. */
static double dither_amplitude(const struct ccdrl_row *row, const struct ccdrl_step *step)
{
	double segment = at_most(log2(1.0 + step->mss / step->cwnd), DITHER_SEGMENT_MAX);

	if (step->is_timeout || step->acked <= 0.0)
		return 0.0;
	return at_most(DITHER_PART * at_least(row->queue_min_8, 0.0), at_least(segment, DITHER_MAX));
}

/* How much of the window is to stand in the queue, and does: the path is shared with nobody who would not yield. */
static void lead(struct ccdrl_row *row, const struct ccdrl_step *step, const struct ccdrl_group *group)
{
	double own;

	row->steps.wanted = row->steps.held = 0.0;
	if (step->is_first || step->is_timeout || step->is_limited || row->is_startup || row->since_signal < 1.0)
		return;
	if (row->steps.freedom <= 1.0 || row->queue_min_8 <= LEAD_QUEUE)
		return;
	own = regress(row->dither_covariance + LEAD_PRIOR_RESPONSE * LEAD_PRIOR_VARIANCE,
	    row->dither_variance + LEAD_PRIOR_VARIANCE);
	row->steps.wanted = LEAD_PART * step_rate_share(step, group) / sqrt(step->cwnd / step->mss);
	row->steps.held = (1.0 - step->base / step->srtt) * at_most(at_least(own, 0.0), 1.0);
}

/* Whether what looks like a queue may be ACKs that wait for another segment: each window may end in one. */
static int row_may_wait(const struct ccdrl_row *row, const struct ccdrl_step *step)
{
	double segments = step->cwnd / step->mss;

	return segments < DELAYED_ACK_SEGMENTS &&
	    (exp2(row->queue_min_8) - 1.0) * step->base * segments < DELAYED_ACK_US;
}

void ccdrl_row_choose_steps(struct ccdrl_row *row, const struct ccdrl_step *step, const struct ccdrl_group *group)
{
	double held = row->dither, swing = dither_amplitude(row, step);
	int stands, is_known, is_alien;

	if (step->is_timeout) {	/* what was known of the queue is over */
		row->dither_covariance = row->dither_rate = row->dither_variance = 0.0;
		row->window_sine = row->window_cosine = row->delay_sine = row->delay_cosine = row->rate_sine = row->rate_cosine = 0.0;
	}
	stands = row->queue_min_8 > ALIEN_QUEUE && !row_may_wait(row, step);
	is_known = row->dither_variance > ALIEN_VARIANCE;
	is_alien = stands && is_known && ccdrl_dither_response(row, row->dither_covariance) < ALIEN_RESPONSE;

	row->phase += at_most(step->periods, 1.0) / DITHER_PERIODS;
	row->phase -= floor(row->phase);
	row->dither = swing * sin(TURN * row->phase);
	row->dither_cosine = swing * cos(TURN * row->phase);
	row->steps.is_congested = ccdrl_row_is_congested(row);
	if (row->steps.is_congested > 0.0)	/* where it is over the rise begins anew */
		row->since_queue = at_most(row->since_queue, 0.0);
	row->steps.coupled = coupled_step(step, row, group);
	row->steps.is_rising = row->steps.coupled > 0.0 && row_rises(row, step);
	row->steps.dither = row->dither - held;
	row->steps.freedom = is_alien ? 0.0 : stands && !is_known ? 1.0 : 2.0;
	lead(row, step, group);
}
