/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A link's figures since the reset. What follows lazily is brought up to now first.
 */
#include "link.h"

void link_capacity_update(struct link *link, int64_t now_ns)
{
	if (!link->is_down)
		link->capacity_bytes += link->server.trace != NULL ?
		    trace_capacity(link->server.trace, link->capacity_stamp_ns, now_ns) :
		    (double)(now_ns - link->capacity_stamp_ns) / link->server.ns_per_byte;
	link->capacity_stamp_ns = now_ns;
}

static void link_catch_up(struct ccdrl_sim *sim, struct link *link)
{
	link_drain(link, sim->now_ns);
	link_integrate(link, sim->now_ns);
	link_capacity_update(link, sim->now_ns);
}

void link_stats_read(struct ccdrl_sim *sim, struct link *link, struct ccdrl_link_stats *out)
{
	link_catch_up(sim, link);
	*out = (struct ccdrl_link_stats){
		.departed_bytes = link->departed_bytes,
		.capacity_bytes = link->capacity_bytes,
		.queue_mean_bytes = sim->now_ns > link->stats_start_ns ?
		    (double)link->queue_integral / (double)(sim->now_ns - link->stats_start_ns) : NAN,
		.dropped_packets = link->dropped_packets,
		.lost_packets = link->lost_packets,
		.marked_packets = link->marked_packets,
		.queue_bytes = (uint64_t)link->queue_bytes,
	};
}

void link_stats_reset(struct ccdrl_sim *sim, struct link *link)
{
	link_catch_up(sim, link);
	link->stats_start_ns = sim->now_ns;
	link->departed_bytes = link->dropped_packets = link->lost_packets = link->marked_packets = 0;
	link->capacity_bytes = 0;
	link->queue_integral = 0;
}
