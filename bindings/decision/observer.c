/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Samples to observations, in two passes over the rows of a call: the first advances each row's state and adds the row to
 * its connection, the second computes the columns. Whatever the samples hold, columns are finite: every divisor is at
 * least 1 or positive by construction, and every logarithm's argument positive and bounded.
 */
#include <math.h>

#include "sample.h"

/* A longer silence counts as this long. */
#define INTERVAL_MAX_US 60e6
/* Start-up ends with a queue of a quarter of the base RTT (log2(srtt / base)), a loss, or an action below -NEUTRAL. */
#define STARTUP_QUEUE 0.32
#define STARTUP_ACTION (-0.2)
#define AMOUNT_MIN 1e-9
/* log2(srtt / base) above which there is a queue, and how long a loss counts as one, srtt. */
#define EMPTY_QUEUE 0.03
#define EMPTY_QUEUE_MAX 0.1
#define EMPTY_SEGMENTS 2.0
#define EMPTY_AFTER_LOSS 8.0
/* Weight of the newest run of segments between loss events in their average (RFC 5348 section 5.4's gain). */
#define EVENT_GAIN 0.25
/* Variance of log2(cwnd) below which nothing can be said of what follows it. */
#define ELASTICITY_FLOOR 3e-4
/* Trends beyond, log2, are no answers to a swing: start-up, losses, another route. */
#define SWING_MAX 0.3
/*
 * What a queue does in and after the start-up, anybody's, is far more than what the swing makes of it, and would be remembered for
 * longer than most connections need to find their shares: so long, srtt, it counts as no more than this.
 */
#define STARTUP_ANSWER_MAX 0.25
#define STARTUP_PERIODS 128.0

/* part / whole within [0, 1], 0 where there is nothing. */
static double share(double part, double whole)
{
	return at_most(part / at_least(at_least(part, whole), AMOUNT_MIN), 1.0);
}

/* How far a counter went: one that went back did not move. */
static double counter_step(uint64_t before, uint64_t now) { return now > before ? (double)(now - before) : 0.0; }

/* Segments between loss events: their average, or the present run if that is longer (RFC 5348 section 5.4). */
static double event_segments(const struct ccdrl_row *row)
{
	return at_least(at_least(row->run_segments, row->event_segments), 1.0);
}

/* Counts segments between loss events; losses and marks within one RTT are one event (RFC 5348 section 5.2). */
static void row_count_events(struct ccdrl_row *row, struct ccdrl_step *step)
{
	step->is_event = step->has_signal && row->since_signal + step->periods >= 1.0;
	row->run_segments += step->acked / step->mss;
	if (!step->is_event)
		return;
	row->event_segments = row->event_segments > 0.0
	    ? row->event_segments + EVENT_GAIN * (row->run_segments - row->event_segments) : row->run_segments;
	row->run_segments = 0.0;
}

/* What counts as no queue: a segment or two of ours in it. */
static double empty_queue(const struct ccdrl_step *step)
{
	return at_least(EMPTY_QUEUE, at_most(EMPTY_SEGMENTS * log2(1.0 + step->mss / step->cwnd), EMPTY_QUEUE_MAX));
}

/* The kinds of TRACE in columns.h. */
static double trace_sum(double before, double value, double decay, int is_first)
{
	return (is_first ? 0.0 : before * decay) + value;
}

static double trace_mean(double before, double value, double decay, int is_first)
{
	return is_first ? value : value + (before - value) * decay;
}

static double trace_low(double before, double value, double decay, int is_first)
{
	return at_most(trace_mean(before, value, decay, is_first), value);
}

static double trace_high(double before, double value, double decay, int is_first)
{
	return at_least(trace_mean(before, value, decay, is_first), value);
}

static double clip(double value, double limit) { return at_most(at_least(value, -limit), limit); }

static double swing_clip(double trend) { return clip(trend, SWING_MAX); }

static double answer_clip(const struct ccdrl_row *row, double trend)
{
	return row->since_startup < STARTUP_PERIODS ? clip(trend, STARTUP_ANSWER_MAX) : trend;
}

static int rows_are_known(const struct ccdrl_observer *observer, const int64_t *rows, size_t n)
{
	if (n > observer->capacity)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (rows[i] < 0 || rows[i] >= observer->capacity)
			return 0;
	return 1;
}

/* Without byte counters: the datapath's rate flows, without one the window once an srtt; an event loses a segment. */
static void step_imagine(struct ccdrl_step *step, const struct ccdrl_row *row, const struct drl_subflow_sample *sample)
{
	double events = counter_step(row->loss_events, sample->loss_events) + counter_step(row->rto_events, sample->rto_events);
	double flow = step->cwnd * step->periods;

	if (step->sample_rate > 0.0)
		flow = step->sample_rate * step->interval * 1e-6;
	step->sent = step->acked = flow;
	step->lost = step->is_first ? 0.0 : at_most(events * step->mss, flow);	/* whatever the counter held */
}

/* What the sample says, and how far the row's counters went. */
static void step_begin(struct ccdrl_step *step, const struct ccdrl_row *row, const struct drl_subflow_sample *sample)
{
	step->is_first = !row->is_started;
	step->srtt = sample->srtt_us;
	step->last_rtt = sample_last_rtt(sample);
	step->base = sample->min_rtt_us > 0 ? sample->min_rtt_us : step->last_rtt;
	step->base = at_most(step->base, at_most(step->last_rtt, step->srtt));
	step->base = at_least(step->base, at_most(row->raised_base, step->srtt));
	step->mss = sample->mss_bytes;
	step->cwnd = at_least(sample_window(sample), 1.0);
	step->inflight = sample_inflight(sample, step->cwnd);
	step->sample_rate = (double)sample->delivery_rate_bytes_per_s;
	step->is_reducing = sample_is_reducing(sample);
	step->is_timeout = sample->state == DRL_STATE_LOSS;
	step->is_limited = (sample->flags & (DRL_FLAG_APP_LIMITED | DRL_FLAG_RWND_LIMITED)) != 0;
	step->is_cwnd_limited = (sample->flags & DRL_FLAG_CWND_LIMITED) != 0;
	if (step->is_first) {
		step->interval = step->srtt;
		step->sent = step->acked = step->lost = step->marks = step->rtt_rise = 0.0;
		step->has_loss = 0;
	} else {
		step->interval = counter_step(row->timestamp_us, sample->timestamp_us);
		step->sent = counter_step(row->sent_bytes, sample->sent_bytes);
		step->acked = counter_step(row->delivered_bytes, sample->delivered_bytes);
		step->lost = counter_step(row->lost_bytes, sample->lost_bytes);
		step->marks = counter_step(row->ecn_marks, sample->ecn_marks);
		step->rtt_rise = step->last_rtt - row->last_rtt;
		step->has_loss = sample->loss_events > row->loss_events || sample->rto_events > row->rto_events;
	}
	step->interval = at_most(at_least(step->interval, 1.0), INTERVAL_MAX_US);
	step->periods = step->interval / step->srtt;
	if (sample->absent & DRL_ABSENT_COUNTERS)
		step_imagine(step, row, sample);
	step->has_loss |= step->lost > 0.0;
	step->has_signal = step->has_loss || step->marks > 0.0;
}

static double step_rate(const struct ccdrl_step *step, const struct ccdrl_row *row)
{
	double rate = step->acked / (step->interval * 1e-6);

	if (step->is_first)
		return step->sample_rate > 0.0 ? step->sample_rate : step->cwnd / (step->srtt * 1e-6);
	return row->rate - expm1(-step->periods) * (rate - row->rate);
}

/* What follows from the sample; then the row moves on. */
static void step_finish(struct ccdrl_step *step, struct ccdrl_row *row, const struct drl_subflow_sample *sample)
{
	step->decay_128 = exp(-step->periods / 128.0);
	step->decay_32 = exp(-step->periods / 32.0);
	step->decay_16 = step->decay_32 * step->decay_32;
	step->decay_8 = step->decay_16 * step->decay_16;
	step->decay_4 = step->decay_8 * step->decay_8;
	step->queue = log2(step->srtt / step->base);
	step->newest_queue = log2(step->last_rtt / step->base);
	step->rate = step_rate(step, row);
	step->log_cwnd = log2(step->cwnd);
	step->log_srtt = log2(step->srtt);
	step->log_rate = log2(at_least(step->rate, 1.0));

#define TRACE(name, kind, span, value) row->name = trace_##kind(row->name, value, step->decay_##span, step->is_first);
#include "columns.h"

	ccdrl_row_judge_base(row, step);
	step->top = at_least(row->top, 1.0);
	step->loss_long = sqrt(share(row->lost_32, row->sent_32));
	row->is_startup = (step->is_first || row->is_startup) && !step->has_signal && step->queue <= STARTUP_QUEUE &&
	    row->previous_action >= STARTUP_ACTION;
	row_count_events(row, step);
	ccdrl_row_judge_losses(row, step);
	row->since_loss = step->has_loss ? 0.0 : row->since_loss + step->periods;
	row->since_signal = step->has_signal ? 0.0 : row->since_signal + step->periods;
	row->since_startup = row->is_startup ? 0.0 : row->since_startup + step->periods;
	row->since_queue += step->periods;
	if (step->has_signal)
		row->since_queue = -EMPTY_AFTER_LOSS;
	else if (row->is_startup || step->is_limited || step->queue > empty_queue(step))
		row->since_queue = at_most(row->since_queue, 0.0);
	row->rate = step->rate;
	row->last_rtt = step->last_rtt;
	row->timestamp_us = sample->timestamp_us;
	row->sent_bytes = sample->sent_bytes;
	row->delivered_bytes = sample->delivered_bytes;
	row->lost_bytes = sample->lost_bytes;
	row->loss_events = sample->loss_events;
	row->rto_events = sample->rto_events;
	row->ecn_marks = sample->ecn_marks;
	if (step->is_timeout)
		row->restart = sample_ssthresh(sample);
	else if (step->has_loss || step->cwnd >= row->restart)
		row->restart = 0.0;
	row->is_started = 1;
}

/* Finds the connection's place, or takes one: open addressing, and what an earlier call left counts as free. */
static uint32_t group_find(struct ccdrl_observer *observer, uint32_t connection)
{
	uint32_t mask = observer->n_places - 1, at = (connection * 0x9e3779b1u) & mask;

	for (;; at = (at + 1) & mask) {
		struct ccdrl_group *group = &observer->groups[at];

		if (group->generation != observer->generation) {
			*group = (struct ccdrl_group){
				.generation = observer->generation, .connection = connection, .srtt_min = INFINITY,
				.base_min = INFINITY, .queue_min = INFINITY, .loss_long_min = INFINITY,
			};
			return at;
		}
		if (group->connection == connection)
			return at;
	}
}

static void group_add(struct ccdrl_group *group, const struct ccdrl_step *step)
{
	group->count++;
	group->speed += step->cwnd / step->srtt;
	group->best_speed = at_least(step->cwnd / step->srtt, group->best_speed);
	group->rate += step->rate;
	group->top += step->top;
	group->queue += step->queue;
	group->rate_queue += step->rate * step->queue;
	group->loss += step->loss_long * step->loss_long;
	group->srtt_min = at_most(step->srtt, group->srtt_min);
	group->base_min = at_most(step->base, group->base_min);
	group->queue_min = at_most(step->queue, group->queue_min);
	group->loss_long_min = at_most(step->loss_long, group->loss_long_min);
}

static void row_observe(const struct ccdrl_observer *observer, const struct ccdrl_row *row,
    const struct ccdrl_step *step, float *history, float *out)
{
	const struct ccdrl_group *group = &observer->groups[step->group];
	size_t n_repeated = observer->n_repeated, size = n_repeated * observer->n_ages;
	double limit = observer->limit;
	const double values[CCDRL_COLUMN_COUNT] = {
#define COLUMN(name, value) [ccdrl_column_##name] = (value),
#include "columns.h"
	};

	for (uint32_t i = 0; i < observer->n_columns; i++)
		out[i] = (float)at_most(at_least(values[observer->columns[i]], -limit), limit);
	memcpy(out + observer->n_columns, history, size * sizeof(*out));
	if (size == 0)
		return;
	memmove(history + n_repeated, history, (size - n_repeated) * sizeof(*history));
	for (size_t i = 0; i < n_repeated; i++)
		history[i] = out[observer->repeated[i]];
}

int ccdrl_observer_update(struct ccdrl_observer *observer, const int64_t *rows, const void *samples, size_t n,
    float *observations)
{
	size_t history_size = (size_t)observer->n_ages * observer->n_repeated;
	size_t width = observer->n_columns + history_size;

	if (!rows_are_known(observer, rows, n))
		return -1;
	observer->generation++;
	for (size_t i = 0; i < n; i++) {
		struct drl_subflow_sample sample = sample_get(samples, i);
		struct ccdrl_row *row = &observer->rows[rows[i]];
		struct ccdrl_step *step = &observer->steps[i];

		step->group = observer->n_places;
		if (!sample_is_live(&sample))
			continue;
		step_begin(step, row, &sample);
		step_finish(step, row, &sample);
		step->group = group_find(observer, row->connection);
		group_add(&observer->groups[step->group], step);
	}
	for (size_t i = 0; i < n; i++) {
		const struct ccdrl_step *step = &observer->steps[i];
		struct ccdrl_row *row = &observer->rows[rows[i]];
		float *out = observations + i * width;

		if (step->group == observer->n_places) {
			row->steps = (struct ccdrl_steps){ .freedom = 1.0 };
			memset(out, 0, width * sizeof(*out));
			continue;
		}
		ccdrl_row_choose_steps(row, step, &observer->groups[step->group]);
		row_observe(observer, row, step, observer->history + rows[i] * history_size, out);
	}
	return 0;
}

int ccdrl_observer_reset(struct ccdrl_observer *observer, const int64_t *rows, const int64_t *connections, size_t n)
{
	size_t history_size = (size_t)observer->n_ages * observer->n_repeated;

	if (!rows_are_known(observer, rows, n))
		return -1;
	for (size_t i = 0; i < n; i++) {
		observer->rows[rows[i]] = (struct ccdrl_row){ .connection = (uint32_t)connections[i] };
		memset(observer->history + rows[i] * history_size, 0, history_size * sizeof(*observer->history));
	}
	return 0;
}

int ccdrl_observer_remember(struct ccdrl_observer *observer, const int64_t *rows, const float *actions, size_t n)
{
	if (!rows_are_known(observer, rows, n))
		return -1;
	for (size_t i = 0; i < n; i++) {
		double action = isfinite(actions[i]) ? actions[i] : 0.0;

		observer->rows[rows[i]].previous_action = at_most(at_least(action, -1.0), 1.0);
	}
	return 0;
}

int ccdrl_observer_read_rate(const struct ccdrl_observer *observer, const int64_t *rows, size_t n, double *rates)
{
	if (!rows_are_known(observer, rows, n))
		return -1;
	for (size_t i = 0; i < n; i++)
		rates[i] = observer->rows[rows[i]].rate;
	return 0;
}

int ccdrl_observer_read_steps(const struct ccdrl_observer *observer, const int64_t *rows, size_t n,
    struct ccdrl_steps *steps)
{
	if (!rows_are_known(observer, rows, n))
		return -1;
	for (size_t i = 0; i < n; i++)
		steps[i] = observer->rows[rows[i]].steps;
	return 0;
}

int ccdrl_observer_read_loss(const struct ccdrl_observer *observer, const int64_t *rows, size_t n, double *losses)
{
	if (!rows_are_known(observer, rows, n))
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct ccdrl_row *row = &observer->rows[rows[i]];

		losses[i] = share(row->lost_4, row->sent_4);
	}
	return 0;
}
