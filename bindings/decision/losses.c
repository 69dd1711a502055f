/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Whether losses are congestion. Radio takes a segment at any queue; a full buffer takes it when the queue is at its longest, and
 * an AQM when it is long. Whoever comes after a lost segment tells of it, and then what was lost with it is already missing in the
 * queue: so it is the newest RTT of the interval before that is about the loss's. How far it lies above the mean of all segments of the last 128 srtt,
 * in their standard deviations, has a mean of nought or less over random losses, and of 0.3 to 1.5 over others (docs/experiments.md).
 * It is of the root of the queue, so that the overshoot of a start-up does not make everything after it look the same.
 *
 * Deep buffers that somebody else fills are told by the dither (steps.c); here it is about queues that are too short or too soon
 * over for that, where a policy that takes losses for random would leave a TCP nothing.
 */
#include <math.h>

#include "sample.h"

/* Mean over so many loss events, and not before so many. */
#define SCORED_MAX 10.0
#define SCORED_MIN 4.0
#define SCORE_LIMIT 2.0
#define SCORE_CONGESTED 0.2
#define DEVIATION_FLOOR 0.003
/* log2(srtt / base): longer queues are not short. */
#define SHALLOW_QUEUE 0.6
/* Without a loss for so many srtt and so many average runs, or for the second number of srtt, it is over. */
#define OVER_PERIODS 8.0
#define OVER_RUNS 4.0
#define OVER_PERIODS_MAX 128.0

void ccdrl_row_judge_losses(struct ccdrl_row *row, const struct ccdrl_step *step)
{
	double mean, deviation, score;

	if (step->is_timeout)
		row->scored_losses = row->loss_score = 0.0;
	if (step->is_timeout || !step->is_event || row->is_startup || row->acked_128 <= 0.0)
		return;
	mean = row->acked_root / row->acked_128;
	deviation = sqrt(at_least(row->acked_queue / row->acked_128 - mean * mean, 0.0)) + DEVIATION_FLOOR;
	score = at_most(at_least((queue_root(log2(row->last_rtt / step->base)) - mean) / deviation, -SCORE_LIMIT), SCORE_LIMIT);
	row->scored_losses = at_most(row->scored_losses + 1.0, SCORED_MAX);
	row->loss_score += (score - row->loss_score) / row->scored_losses;
}

int ccdrl_row_is_congested(const struct ccdrl_row *row)
{
	int is_over = row->since_signal > OVER_PERIODS_MAX ||
	    (row->since_signal > OVER_PERIODS && row->run_segments > OVER_RUNS * row->event_segments);

	return row->scored_losses >= SCORED_MIN && row->loss_score >= SCORE_CONGESTED && row->queue_max_32 <= SHALLOW_QUEUE &&
	    !is_over;
}
