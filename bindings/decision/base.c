/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The RTT without a queue. The lowest one ever seen is too low where a route became longer, and where radio or other jitter
 * keeps almost every packet longer than the luckiest: the rest looks like a queue, one that does not answer to our window, so
 * like somebody else's. But a queue that others fill does not stand still, it rises and falls with their windows. A delay that
 * does stand still, does not answer to our window, and leaves the rate free to follow it, is part of the path.
 *
 * A policy that holds its queue works against the dither: a window that moves by less than it was asked to would make our own
 * delay look as if it did not answer. So delays and rates are regressed on what the window did do, and the dither only says at
 * which frequency (an instrumental variable, or a lock-in amplifier). With d and e, the dither and its quadrature, and
 * X = E[d x] + i E[e x] of a trend x, the response of y to the window c is Re(Y conj W) / |W|^2, where W is C turned back by the
 * phase that y comes later.
 */
#include <math.h>

#include "sample.h"

/* Still: the smoothed log2(srtt) within this of where it was, for so many srtt. */
#define STILL_BAND 0.03
#define STILL_PERIODS 32.0
/* log2(srtt / base) that stood for eight srtt. What is below the first is not worth it, but that every loss counts as a
   congestion signal where a queue stands; above this ratio of losses, then, less is, but not much: behind RED the queues of many
   stand still too, and lose. */
#define STILL_QUEUE 0.15
#define STILL_LOSS 0.001
#define STILL_QUEUE_AT_LOSS_MIN 0.05
#define STILL_QUEUE_AT_LOSS_MAX 0.25
/* Below this |W| nothing can be said of what follows the window; at the other a response counts for half. */
#define STILL_POWER 8e-5
#define POWER_FLOOR 4e-5
/* A delay that follows the window at least so far is our queue; so is one that the rate does not follow over. */
#define STILL_DELAY_RESPONSE 0.2
#define STILL_RATE_RESPONSE 0.5
/* Phases by which the smoothed delay and the smoothed rate follow the window, radians: an RTT and what smooths them. */
#define DELAY_PHASE 0.3
#define RATE_PHASE 1.0

static double response(const struct ccdrl_row *row, double phase, double sine, double cosine)
{
	double power = hypot(row->window_sine, row->window_cosine);
	double window_sine = cos(phase) * row->window_sine + sin(phase) * row->window_cosine;
	double window_cosine = cos(phase) * row->window_cosine - sin(phase) * row->window_sine;

	return (sine * window_sine + cosine * window_cosine) / (power * power + POWER_FLOOR * (power + POWER_FLOOR));
}

/* Whether what looks like a queue follows the window by nothing, and the rate does. */
static int is_path(const struct ccdrl_row *row)
{
	return hypot(row->window_sine, row->window_cosine) > STILL_POWER &&
	    response(row, DELAY_PHASE, row->delay_sine, row->delay_cosine) < STILL_DELAY_RESPONSE &&
	    response(row, RATE_PHASE, row->rate_sine, row->rate_cosine) > STILL_RATE_RESPONSE;
}

static int is_worth_it(const struct ccdrl_row *row)
{
	if (row->lost_32 > STILL_LOSS * row->sent_32)
		return row->queue_min_8 > STILL_QUEUE_AT_LOSS_MIN && row->queue_min_8 <= STILL_QUEUE_AT_LOSS_MAX;
	return row->queue_min_8 > STILL_QUEUE;
}

/* Raises the base where the path turned out to be longer. */
void ccdrl_row_judge_base(struct ccdrl_row *row, const struct ccdrl_step *step)
{
	row->raised_base = at_most(row->raised_base, step->srtt);
	if (step->is_first || step->is_timeout || row->is_startup || fabs(row->srtt_8 - row->still_log_srtt) > STILL_BAND) {
		row->still_log_srtt = row->srtt_8;
		row->still_low = step->log_srtt;
		row->still = 0.0;
	}
	row->still += at_most(step->periods, 1.0);
	row->still_low = at_most(row->still_low, step->log_srtt);
	if (row->still > STILL_PERIODS && is_worth_it(row) && is_path(row)) {
		row->raised_base = exp2(row->still_low);
		row->still = 0.0;
	}
}
