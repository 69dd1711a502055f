/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Random early detection (Floyd and Jacobson, IEEE/ACM ToN 1(4), 1993) with Floyd's "gentle" slope between max and 2 max.
 * Thresholds are in bytes; the drop probability does not depend on the packet's size (RFC 7141).
 */
#include "link.h"

#define RED_MAX_P 0.1
#define RED_WEIGHT 0.002
#define RED_LIMIT_PACKETS 60	/* without a limit: min 5 and max 15 packets, Floyd's rule of thumb */

void red_init(struct link *link, const struct ccdrl_link_config *config)
{
	struct red_state *red = &link->aqm.red;
	double limit_bytes = (double)(config->limit_packets > 0 ? config->limit_packets : RED_LIMIT_PACKETS) * MTU_BYTES;

	if (config->limit_bytes > 0 && (config->limit_packets == 0 || (double)config->limit_bytes < limit_bytes))
		limit_bytes = (double)config->limit_bytes;
	/* Max at a quarter of the limit leaves room for bursts, and min at a third of max. */
	red->max_bytes = config->red_max_bytes > 0 ? config->red_max_bytes :
	    config->red_min_bytes > 0 ? 3 * config->red_min_bytes : limit_bytes / 4;
	red->min_bytes = config->red_min_bytes > 0 ? config->red_min_bytes : red->max_bytes / 3;
	red->max_p = config->red_max_p > 0 ? config->red_max_p : RED_MAX_P;
	red->weight = config->red_weight > 0 ? config->red_weight : RED_WEIGHT;
}

static double red_probability(const struct red_state *red)
{
	const double average = red->average_bytes;

	if (average < red->max_bytes)
		return red->max_p * (average - red->min_bytes) / (red->max_bytes - red->min_bytes);
	if (average < 2 * red->max_bytes)
		return red->max_p + (1 - red->max_p) * (average - red->max_bytes) / red->max_bytes;
	return 1;
}

enum verdict red_arrive(struct link *link, int64_t now_ns)
{
	struct red_state *red = &link->aqm.red;
	double probability;

	if (link->queue_bytes > 0) {
		red->average_bytes += red->weight * ((double)link->queue_bytes - red->average_bytes);
	} else {
		/* As if the packets that could have left in the idle time had arrived to an empty queue. */
		const double idle_packets = (double)(now_ns - link->server.free_ns) /
		    (MTU_BYTES * link_mean_ns_per_byte(link));

		red->average_bytes *= pow(1 - red->weight, idle_packets);
	}
	if (red->average_bytes < red->min_bytes) {
		red->count = 0;
		return VERDICT_ACCEPT;
	}
	/* Dividing by 1 - count p makes the gap between drops uniform on 1 to 1/p (their section 8, method 2). */
	probability = red_probability(red);
	if ((double)red->count * probability < 1 &&
	    rng_double(&link->rng) >= probability / (1 - (double)red->count * probability)) {
		red->count++;
		return VERDICT_ACCEPT;
	}
	red->count = 0;
	return link->is_ecn ? VERDICT_MARK : VERDICT_DROP;
}
