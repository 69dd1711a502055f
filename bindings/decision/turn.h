/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A turn of a live loop, as two calls around the policy: records in, observations out; its actions in, cwnd actions out.
 * A loop that sleeps between two turns finds its caches cold, where calls from Python cost more than most of the work.
 */
#ifndef CCDRL_TURN_H
#define CCDRL_TURN_H

#ifndef CCDRL_CFFI
#include "action.h"
#include "observer.h"
#include "table.h"
#endif

/* What was believed and refused on either side of the policy, since the beginning. */
struct ccdrl_guard_counts {
	uint64_t samples;
	uint64_t samples_foreign;	/* these three as in struct ccdrl_intake */
	uint64_t samples_future;
	uint64_t samples_stale;
	uint64_t actions;
	uint64_t actions_not_finite;	/* these two as in struct ccdrl_limited */
	uint64_t actions_clipped;
	uint64_t windows_bounded;
};

/* Arrays have a place for every row of the table; those of a turn stand at the front. */
struct ccdrl_turn {
	struct ccdrl_table *table;
	struct ccdrl_observer *observer;	/* of the table's capacity, and nobody else's */
	const struct ccdrl_action_rule *rule;
	struct ccdrl_guard_counts *counts;
	uint64_t now_us;		/* of this turn; never goes back */
	uint64_t refused;		/* records of subflows for which there was no row, since the beginning */
	uint32_t cwnd_max_bytes;
	struct ccdrl_due due;
	float *observations;		/* as wide as the observer's */
	float *actions;			/* the policy's, within their bounds */
	struct ccdrl_steps *steps;
	struct drl_cwnd_action *cwnd_actions;	/* one a row, without subflow_id where there is none */
	struct drl_cwnd_action *gathered;
};

/*
 * Takes records, opens and closes rows, and fills `due` and `observations` with the rows whose interval is over; returns
 * how many. `clock_us` is the datapath's clock, UINT64_MAX where it is unknown: the newest time of a record then.
 */
size_t ccdrl_turn_begin(struct ccdrl_turn *turn, const void *samples, size_t n, uint64_t clock_us);
/*
 * From the policy's actions for these n rows to `cwnd_actions`, bounded on both sides. Returns the lowest window of them in
 * segments, infinity without any.
 */
double ccdrl_turn_finish(struct ccdrl_turn *turn, const float *actions, size_t n);
/* How many of the n cwnd actions there are; where these are fewer, `gathered` has them without gaps. */
size_t ccdrl_turn_gather(const struct ccdrl_turn *turn, size_t n);

#endif /* CCDRL_TURN_H */
