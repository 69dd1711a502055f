/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Actions to windows, pacing rates and leases; map_actions in envs/action.py is the manual.
 */
#include <math.h>

#include "sample.h"

/* The coupled step: a decrease may be withheld, little by little, so that it does not hang on the last digit of an action. */
static double release(const struct ccdrl_action_rule *rule, double action, double coupled)
{
	double kept = (rule->release_end - action) / (rule->release_end - rule->release_begin);

	return coupled < 0.0 ? coupled * at_most(at_least(kept, 0.0), 1.0) : coupled;
}

/*
 * A small step where no queue may be somebody else's and nothing is to be given up: the action's, or towards the queue that is
 * wanted, of which the action then says how long it is to be. Where losses are congestion it is never up.
 */
static double choose_fine_step(const struct ccdrl_action_rule *rule, double action, const struct ccdrl_steps *steps, double part)
{
	double way = at_most(at_least(action / rule->neutral, -1.0), 1.0), error;
	double highest = steps->is_congested > 0.0 ? 0.0 : rule->fine_step;

	if (steps->freedom <= 1.0 || steps->coupled < 0.0)
		return 0.0;
	if (rule->lead_gain <= 0.0 || steps->wanted <= 0.0)
		return part * at_most(rule->fine_step * way, highest);
	error = rule->lead_gain * (steps->wanted * exp2(rule->lead_range * way) - steps->held);
	return part * at_most(at_least(error, -rule->fine_step), highest);
}

/*
 * log2 of the factor on the window: the coupled one's while the action is neutral, or a little about it, else at least as far as
 * it. A decrease is withheld by the same actions, so that they do nothing else then.
 */
static double choose_step(const struct ccdrl_action_rule *rule, double action, const struct ccdrl_steps *steps,
    double periods)
{
	double part = at_most(periods, 1.0), coupled = steps->coupled;
	double fine, beyond;

	if (steps->freedom <= 0.0)
		return coupled;
	if (steps->is_congested > 0.0)
		action = at_most(action, 0.0);
	if (steps->is_rising > 0.0)
		action = at_least(action, -rule->neutral);
	fine = choose_fine_step(rule, action, steps, part);
	beyond = (fabs(action) - rule->neutral) / (1.0 - rule->neutral);
	if (beyond <= 0.0)
		return release(rule, action, coupled) + fine;
	if (action > 0.0)
		return at_least(fine + beyond * (part - fine), coupled + fine);
	return at_most(fine - beyond * (part + fine), coupled + fine);
}

static struct drl_cwnd_action action_map(const struct ccdrl_action_rule *rule, double action,
    const struct ccdrl_steps *steps, const struct drl_subflow_sample *sample, double interval_us)
{
	int is_valid = isfinite(action) && sample->srtt_us > 0 && sample->mss_bytes > 0;
	double wanted = is_valid ? at_most(at_least(action, -1.0), 1.0) : 0.0;
	double now = sample_window(sample), mss = sample->mss_bytes, srtt = sample->srtt_us;
	double period = at_least(at_most(sample_last_rtt(sample), srtt), 1.0);
	double pacing_gain = steps->is_congested > 0.0 ? 0.0 : rule->pacing_gain;	/* 0: as a plain TCP's */
	double cwnd = now * exp2(choose_step(rule, wanted, steps, interval_us / period) + steps->dither);
	double ceiling = at_least(2.0 * sample_inflight(sample, now) + rule->growth_segments * mss, now);

	cwnd = at_least(at_most(cwnd, ceiling), DRL_CWND_MIN_SEGMENTS * mss);
	cwnd = rint(at_most(cwnd, rule->cwnd_max_bytes));
	return (struct drl_cwnd_action){
		.abi = DRL_ABI_VERSION,
		.cwnd_bytes = (uint32_t)cwnd,
		.subflow_id = is_valid ? sample->subflow_id : 0,
		.seq = sample->seq,
		.pacing_rate_bytes_per_s = (uint64_t)(pacing_gain * cwnd * 1e6 / period),
		.lease_us = (uint32_t)at_most(at_least(rule->lease_srtts * srtt, rule->lease_min_us), rule->lease_max_us),
	};
}

void ccdrl_actions_map(const struct ccdrl_action_rule *rule, const float *actions, const struct ccdrl_steps *steps,
    const void *samples, const double *intervals_us, int is_common, size_t n, struct drl_cwnd_action *out)
{
	for (size_t i = 0; i < n; i++) {
		struct drl_subflow_sample sample = sample_get(samples, i);

		out[i] = action_map(rule, actions[i], &steps[i], &sample, intervals_us[is_common ? 0 : i]);
	}
}

struct ccdrl_limited ccdrl_actions_limit(const float *actions, size_t n, float *out)
{
	struct ccdrl_limited limited = { 0, 0 };

	for (size_t i = 0; i < n; i++) {
		float action = actions[i];

		if (!isfinite(action)) {
			limited.not_finite++;
			out[i] = NAN;
			continue;
		}
		out[i] = action < -1.0f ? -1.0f : action > 1.0f ? 1.0f : action;
		limited.clipped += out[i] != action;
	}
	return limited;
}

size_t ccdrl_windows_limit(struct drl_cwnd_action *actions, size_t n, uint32_t cwnd_max_bytes)
{
	size_t bounded = 0;

	for (size_t i = 0; i < n; i++) {
		double excess;

		if (actions[i].cwnd_bytes <= cwnd_max_bytes)
			continue;
		excess = (double)actions[i].cwnd_bytes / cwnd_max_bytes;
		actions[i].pacing_rate_bytes_per_s = (uint64_t)((double)actions[i].pacing_rate_bytes_per_s / excess);
		actions[i].cwnd_bytes = cwnd_max_bytes;
		bounded++;
	}
	return bounded;
}
