/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * PIE (RFC 8033). The queueing delay is exact, since a FIFO link knows when its queue will be empty. Updates fall due every
 * T_UPDATE and are made at the next arrival; none of them can matter before.
 */
#include "link.h"

#define PIE_TARGET_NS (15 * NS_PER_MS)
#define PIE_UPDATE_NS (15 * NS_PER_MS)
#define PIE_BURST_NS (150 * NS_PER_MS)
#define PIE_ALPHA_PER_S 0.125
#define PIE_BETA_PER_S 1.25

void pie_init(struct link *link, const struct ccdrl_link_config *config, int64_t now_ns)
{
	struct pie_state *pie = &link->aqm.pie;

	pie->target_ns = config->aqm_target_ns > 0 ? config->aqm_target_ns : PIE_TARGET_NS;
	pie->update_ns = config->aqm_interval_ns > 0 ? config->aqm_interval_ns : PIE_UPDATE_NS;
	pie->next_update_ns = now_ns + pie->update_ns;
	pie->burst_allowance_ns = PIE_BURST_NS;
}

/* RFC 8033 section 4.2 and appendix A. */
static void pie_update(struct pie_state *pie, int64_t queue_delay_ns)
{
	const int64_t old_ns = pie->queue_delay_old_ns;
	double step = PIE_ALPHA_PER_S * (double)(queue_delay_ns - pie->target_ns) / 1e9 +
	    PIE_BETA_PER_S * (double)(queue_delay_ns - old_ns) / 1e9;

	/* Small probabilities move in small steps: relative stability over the whole range. */
	if (pie->drop_probability < 0.000001)
		step /= 2048;
	else if (pie->drop_probability < 0.00001)
		step /= 512;
	else if (pie->drop_probability < 0.0001)
		step /= 128;
	else if (pie->drop_probability < 0.001)
		step /= 32;
	else if (pie->drop_probability < 0.01)
		step /= 8;
	else if (pie->drop_probability < 0.1)
		step /= 2;
	else if (step > 0.02)
		step = 0.02;		/* section 5.5, cap drop adjustment */
	pie->drop_probability += step;
	if (queue_delay_ns == 0 && old_ns == 0)
		pie->drop_probability *= 0.98;
	pie->drop_probability = fmin(fmax(pie->drop_probability, 0), 1);

	/* Section 4.4, burst allowance: used up while there is congestion, restored when there is none. */
	pie->burst_allowance_ns = pie->burst_allowance_ns > pie->update_ns ? pie->burst_allowance_ns - pie->update_ns : 0;
	if (pie->drop_probability == 0 && queue_delay_ns < pie->target_ns / 2 && old_ns < pie->target_ns / 2)
		pie->burst_allowance_ns = PIE_BURST_NS;
	pie->queue_delay_old_ns = queue_delay_ns;
}

static void pie_catch_up(struct link *link, int64_t now_ns)
{
	struct pie_state *pie = &link->aqm.pie;

	while (pie->next_update_ns <= now_ns) {
		/* Nothing has arrived since the queue's end was computed, so the delay at the due time is known. */
		const int64_t delay_ns = link->server.free_ns > pie->next_update_ns ?
		    link->server.free_ns - pie->next_update_ns : 0;
		const bool was_quiet = delay_ns == 0 && pie->queue_delay_old_ns == 0 && pie->drop_probability == 0;

		pie_update(pie, delay_ns);
		pie->next_update_ns += pie->update_ns;
		if (was_quiet && pie->next_update_ns <= now_ns)	/* the updates left change nothing */
			pie->next_update_ns += (now_ns - pie->next_update_ns) / pie->update_ns * pie->update_ns + pie->update_ns;
	}
}

enum verdict pie_arrive(struct link *link, int64_t now_ns)
{
	struct pie_state *pie = &link->aqm.pie;

	pie_catch_up(link, now_ns);
	/* Section 4.1: no drops in a burst, at low delay, or with hardly anything queued. */
	if (pie->burst_allowance_ns > 0 ||
	    (pie->queue_delay_old_ns < pie->target_ns / 2 && pie->drop_probability < 0.2) ||
	    link->queue_bytes <= 2 * MTU_BYTES)
		return VERDICT_ACCEPT;
	/* Section 5.4, de-randomization: neither clusters of drops nor long gaps. */
	if (pie->drop_probability == 0)
		pie->accumulated_probability = 0;
	pie->accumulated_probability += pie->drop_probability;
	if (pie->accumulated_probability < 0.85)
		return VERDICT_ACCEPT;
	if (pie->accumulated_probability < 8.5 && rng_double(&link->rng) >= pie->drop_probability)
		return VERDICT_ACCEPT;
	pie->accumulated_probability = 0;
	return link->is_ecn ? VERDICT_MARK : VERDICT_DROP;
}
