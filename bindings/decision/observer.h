/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Samples to observations. Functions that return int return 0, or -1 where a row is not below the observer's capacity, and
 * then have changed nothing.
 */
#ifndef CCDRL_OBSERVER_H
#define CCDRL_OBSERVER_H

#ifndef CCDRL_CFFI
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "action.h"
#include "ccdrl.h"
#endif

/* ccdrl_column_srtt_ratio, ... in the order of columns.h */
enum ccdrl_column {
#define COLUMN(name, value) ccdrl_column_##name,
#include "columns.h"
	CCDRL_COLUMN_COUNT
};

/* What an observer remembers of a row. Amounts in bytes, rates in bytes a second, times in microseconds. */
struct ccdrl_row {
	uint64_t timestamp_us;
	uint64_t sent_bytes;
	uint64_t delivered_bytes;
	uint64_t lost_bytes;
	uint32_t loss_events;
	uint32_t rto_events;
	uint32_t ecn_marks;
	uint32_t connection;
	uint32_t is_started;		/* a sample has been seen */
	uint32_t is_startup;		/* never a loss, never a queue, nothing less asked for */
	double last_rtt;
	double rate;			/* delivered, smoothed over one srtt */
	double since_loss;		/* srtt since the last loss */
	double since_signal;		/* or mark */
	double since_startup;		/* srtt since its end, 0 in it */
	double since_queue;		/* srtt since start-up or a queue; a loss or a mark sets it back further */
	double run_segments;		/* acknowledged since the last loss event */
	double event_segments;		/* between loss events, on average; 0: fewer than one event */
	double restart;			/* slow start up to this window after a time-out; 0: none */
	double previous_action;
	double phase;			/* of the dither, turns */
	double dither;			/* log2 of the factor that it holds now */
	double dither_cosine;		/* what it would hold a quarter of a turn later */
	double still_log_srtt;		/* log2: where the smoothed delay stands still */
	double still_low;		/* log2 of the lowest srtt since it does */
	double still;			/* srtt since it does */
	double raised_base;		/* RTT below which there is no queue, though shorter ones were seen; 0: none */
	double loss_score;		/* how much longer than usual the queue is at losses, standard scores */
	double scored_losses;		/* loss events that it is of */
	struct ccdrl_steps steps;
#define TRACE(name, kind, span, value) double name;
#include "columns.h"
};

/* What one interval brought to a row. */
struct ccdrl_step {
	double srtt, last_rtt, base;	/* base: RTT without a queue, as far as known */
	double mss, cwnd, inflight;	/* cwnd: what an action multiplies */
	double interval, periods;	/* since the previous sample; periods: in srtt */
	double sent, acked, lost, marks;
	double sample_rate;		/* the datapath's newest rate sample, 0: none */
	double rate, top;		/* top: recent maximum of rate, at least 1 */
	double rtt_rise;		/* of the newest RTT over the previous one */
	double queue, newest_queue;	/* log2(srtt / base), log2(last_rtt / base) */
	double log_cwnd, log_srtt, log_rate;	/* log2 */
	double loss_long;		/* square root of the loss ratio over about 32 srtt */
	double decay_4, decay_8, decay_16, decay_32, decay_128;
	uint32_t is_first, has_loss, has_signal, is_event;	/* signal: a loss or a mark; is_event: the first in an RTT */
	uint32_t is_reducing, is_timeout, is_limited, is_cwnd_limited;
	uint32_t group;
};

/* The live rows of one connection in one call: sums, and minima. Symmetric but for the order of the additions. */
struct ccdrl_group {
	uint64_t generation;		/* call that uses this place */
	uint32_t connection;
	uint32_t count;
	double rate, top, queue, rate_queue, loss;
	double srtt_min, base_min, queue_min, loss_long_min;
	double speed, best_speed;	/* of cwnd / srtt: sum and largest */
};

struct ccdrl_observer {
	uint32_t capacity;		/* rows */
	uint32_t n_places;		/* of `groups`: a power of two above `capacity` */
	uint32_t n_columns;		/* without history */
	uint32_t n_repeated;
	uint32_t n_ages;		/* earlier intervals whose `repeated` columns follow the columns, newest first */
	float limit;			/* columns are clipped to [-limit, limit] */
	uint64_t generation;
	const int32_t *columns;		/* enum ccdrl_column of each column of the layout */
	const int32_t *repeated;	/* indices into `columns` */
	struct ccdrl_row *rows;
	float *history;			/* n_ages * n_repeated a row */
	struct ccdrl_step *steps;	/* scratch, `capacity` of them */
	struct ccdrl_group *groups;	/* scratch, `n_places` of them */
};

/* observer.c. `n` is at most the capacity, and no row comes twice in a call. */
int ccdrl_observer_reset(struct ccdrl_observer *observer, const int64_t *rows, const int64_t *connections, size_t n);
int ccdrl_observer_remember(struct ccdrl_observer *observer, const int64_t *rows, const float *actions, size_t n);
/* Fills n_columns + n_ages * n_repeated floats a row. */
int ccdrl_observer_update(struct ccdrl_observer *observer, const int64_t *rows, const void *samples, size_t n,
    float *observations);
int ccdrl_observer_read_rate(const struct ccdrl_observer *observer, const int64_t *rows, size_t n, double *rates);
int ccdrl_observer_read_steps(const struct ccdrl_observer *observer, const int64_t *rows, size_t n,
    struct ccdrl_steps *steps);
int ccdrl_observer_read_loss(const struct ccdrl_observer *observer, const int64_t *rows, size_t n, double *losses);

/* base.c. */
void ccdrl_row_judge_base(struct ccdrl_row *row, const struct ccdrl_step *step);

/* losses.c. */
void ccdrl_row_judge_losses(struct ccdrl_row *row, const struct ccdrl_step *step);
int ccdrl_row_is_congested(const struct ccdrl_row *row);

/* steps.c. The response: how far what has this covariance with the swing of our window follows it. */
double ccdrl_dither_response(const struct ccdrl_row *row, double covariance);
void ccdrl_row_choose_steps(struct ccdrl_row *row, const struct ccdrl_step *step, const struct ccdrl_group *group);

#ifndef CCDRL_CFFI
/* Of log2(RTT / base), which is below 0 where the base was raised. */
static inline double queue_root(double queue) { return queue > 0.0 ? sqrt(queue) : 0.0; }

/* A subflow's part of its connection's rate; all have the same where nothing is delivered. */
static inline double step_rate_share(const struct ccdrl_step *step, const struct ccdrl_group *group)
{
	return group->rate > 0.0 ? step->rate / group->rate : 1.0 / group->count;
}
#endif

#endif /* CCDRL_OBSERVER_H */
