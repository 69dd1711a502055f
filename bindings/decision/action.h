/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Actions to windows, and what both ends of that ask of samples and of records.
 */
#ifndef CCDRL_ACTION_H
#define CCDRL_ACTION_H

#ifndef CCDRL_CFFI
#include <stddef.h>
#include <stdint.h>

#include "ccdrl.h"
#endif

/* Which samples an agent can act on, and the window that an action multiplies. */
void ccdrl_samples_select(const void *samples, size_t n, uint8_t *is_live);
void ccdrl_samples_window(const void *samples, size_t n, double *windows);

/* What a window does apart from the policy, log2 of factors in one interval. */
struct ccdrl_steps {
	double coupled;			/* of a window that is coupled over the connection (BALIA) */
	double dither;			/* on top of whatever else */
	double wanted;			/* part of the window that is to stand in a queue; 0 where that is not known */
	double held;			/* part of it that does */
	double is_congested;		/* 1: losses come with the queue: actions may only take away */
	double is_rising;		/* 1: the coupled step takes up an empty queue: actions cannot take that away */
	double freedom;			/* 0: nothing but the coupled one; 1: actions beyond neutral too; 2: neutral ones as well */
};

/* How an action becomes a window: the constants of envs/action.py, which explains them. */
struct ccdrl_action_rule {
	double neutral;			/* actions within +- this leave the window to the coupling */
	double fine_step;		/* or move it a little: log2 in a round at the edge */
	double lead_gain;		/* or lead it to a queue, where `wanted` is known: log2 in a round for a whole window, 0: do not */
	double lead_range;		/* log2 of the factor on `wanted` at the edge */
	double release_begin, release_end;	/* actions that take a coupled decrease away, little by little */
	double growth_segments;
	double cwnd_max_bytes;
	double pacing_gain;
	double lease_srtts;
	double lease_min_us;
	double lease_max_us;
};

/* `intervals_us` has one entry for each row, or one for all where `is_common`. */
void ccdrl_actions_map(const struct ccdrl_action_rule *rule, const float *actions, const struct ccdrl_steps *steps,
    const void *samples, const double *intervals_us, int is_common, size_t n, struct drl_cwnd_action *out);

struct ccdrl_limited {
	uint32_t not_finite;
	uint32_t clipped;
};

/* Clips actions to [-1, 1]; what is not finite becomes NaN. `out` may be `actions`. */
struct ccdrl_limited ccdrl_actions_limit(const float *actions, size_t n, float *out);
/* Lowers windows above the maximum, and their pacing rates as much; returns how many. */
size_t ccdrl_windows_limit(struct drl_cwnd_action *actions, size_t n, uint32_t cwnd_max_bytes);

#endif /* CCDRL_ACTION_H */
