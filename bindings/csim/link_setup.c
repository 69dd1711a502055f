/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A link's configuration, checked, and the timed events that change it.
 */
#include <stdio.h>

#include "link.h"

#define RATE_MAX_BPS 1e15
#define RATE_HELD_BPS 1.0	/* below one bit a second counts as 0: the link holds its packets */
#define DELAY_MAX_NS INT64_C(1000000000000000)

static bool is_in(double value, double low, double high) { return value >= low && value <= high; }

static const char *trace_config_error(const struct ccdrl_trace_config *trace)
{
	const bool is_rate = trace->kind == CCDRL_TRACE_RATE;

	if (trace->kind > CCDRL_TRACE_RATE)
		return "trace.kind: accepted are none, opportunities, rate";
	if (trace->n == 0 || trace->n > UINT32_MAX || trace->time_ns == NULL || (is_rate && trace->rate_bps == NULL))
		return "trace: accepted are 1 or more entries";
	if (trace->period_ns <= 0 || trace->period_ns > DELAY_MAX_NS)
		return "trace.period_ns: accepted are 1 to 1e15";
	if (trace->time_ns[0] < 0 || (is_rate && trace->time_ns[0] != 0))
		return "trace.time_ns: the first must be 0 (opportunities: 0 or later)";
	for (uint64_t i = 0; i < trace->n; i++) {
		if (trace->time_ns[i] > trace->period_ns || (i > 0 && trace->time_ns[i] < trace->time_ns[i - 1]))
			return "trace.time_ns: must not descend nor be later than period_ns";
		if (is_rate && !is_in(trace->rate_bps[i], 0, RATE_MAX_BPS))
			return "trace.rate_bps: accepted are 0 to 1e15";
	}
	return NULL;
}

static const char *link_config_error(const struct ccdrl_link_config *config)
{
	if (config->trace.kind != CCDRL_TRACE_NONE) {
		const char *error = trace_config_error(&config->trace);

		if (error != NULL)
			return error;
	} else if (!is_in(config->rate_bps, 0, RATE_MAX_BPS)) {
		return "rate_bps: accepted are 0 to 1e15";
	}
	if (config->delay_ns < 0 || config->delay_ns > DELAY_MAX_NS || config->jitter_ns < 0 ||
	    config->jitter_ns > DELAY_MAX_NS)
		return "delay_ns, jitter_ns: accepted are 0 to 1e15";
	if (config->queue_kind > CCDRL_QUEUE_PIE)
		return "queue_kind: accepted are droptail, red, codel, pie";
	if (config->limit_bytes < 0 || config->limit_packets < 0)
		return "limit_bytes, limit_packets: accepted are 0 (no limit) and above";
	if (!is_in(config->red_max_p, 0, 1) || !is_in(config->red_weight, 0, 1) || !is_in(config->red_min_bytes, 0, 1e15) ||
	    !is_in(config->red_max_bytes, 0, 1e15))
		return "red: max_p and weight are 0 to 1, min and max bytes 0 to 1e15 (0: derived)";
	if (config->red_max_bytes > 0 && config->red_min_bytes >= config->red_max_bytes)
		return "red: min bytes must be below max bytes";
	if (config->aqm_target_ns < 0 || config->aqm_target_ns > DELAY_MAX_NS || config->aqm_interval_ns < 0 ||
	    config->aqm_interval_ns > DELAY_MAX_NS)
		return "aqm_target_ns, aqm_interval_ns: accepted are 0 (default) to 1e15";
	return loss_config_error(&config->loss);
}

static double rate_ns_per_byte(double rate_bps) { return rate_bps >= RATE_HELD_BPS ? 8e9 / rate_bps : INFINITY; }

static void link_loss_set(struct link *link, const struct ccdrl_loss_config *config)
{
	loss_init(&link->loss, config);
	link->is_random = config->kind != CCDRL_LOSS_NONE || link->jitter_ns > 0;
}

static void link_aqm_init(struct link *link, const struct ccdrl_link_config *config, int64_t now_ns)
{
	switch (config->queue_kind) {
	case CCDRL_QUEUE_RED:
		red_init(link, config);
		break;
	case CCDRL_QUEUE_PIE:
		pie_init(link, config, now_ns);
		break;
	case CCDRL_QUEUE_CODEL:
		codel_init(link, config);
		break;
	default:
		break;
	}
}

struct link *link_new(struct ccdrl_sim *sim, const struct ccdrl_link_config *config, uint32_t index)
{
	const char *error = link_config_error(config);
	struct link *link;

	if (error != NULL) {
		snprintf(sim->error, sizeof(sim->error), "link %u: %s", index, error);
		return NULL;
	}
	link = calloc(1, sizeof(*link));
	if (link == NULL)
		goto no_memory;
	link->index = index;
	link->queue_kind = config->queue_kind;
	link->is_ecn = config->is_ecn != 0;
	link->limit_bytes = config->limit_bytes > 0 ? config->limit_bytes : INT64_MAX / 2;
	link->limit_packets = config->limit_packets > 0 ? config->limit_packets : INT64_MAX;
	link->delay_ns = config->delay_ns;
	link->jitter_ns = config->jitter_ns;
	link->source_time_ns = TIME_NEVER;
	link->stamp_ns = link->stats_start_ns = link->capacity_stamp_ns = sim->now_ns;
	link->server.ns_per_byte = rate_ns_per_byte(config->rate_bps);
	link->server.free_ns = sim->now_ns;
	if (config->trace.kind != CCDRL_TRACE_NONE && (link->server.trace = trace_new(&config->trace)) == NULL)
		goto no_memory;
	rng_seed(&link->rng, sim->seed, index);
	link_loss_set(link, &config->loss);
	link_aqm_init(link, config, sim->now_ns);
	link->source = source_add(sim, SOURCE_LINK, link);
	if (link->source == UINT32_MAX)
		goto no_memory;
	return link;

no_memory:
	sim->is_out_of_memory = true;
	snprintf(sim->error, sizeof(sim->error), "link %u: out of memory", index);
	link_free(link);
	return NULL;
}

void link_free(struct link *link)
{
	if (link == NULL)
		return;
	trace_free(link->server.trace);
	free(link->pipe.slots);
	free(link->queue.slots);
	free(link);
}

double link_mean_ns_per_byte(const struct link *link)
{
	const struct trace *trace = link->server.trace;

	return trace == NULL ? link->server.ns_per_byte : (double)trace->period_ns / trace->period_bytes;
}

/* Bytes of the packet in service that have not been served; behind_bytes have been promised after it. */
static double link_head_left(const struct link *link, const struct packet *head, int64_t behind_bytes, int64_t now_ns)
{
	double left_bytes;

	if (head->departure_ns == TIME_NEVER)
		return link->head_left_bytes;
	if (link->server.trace != NULL)
		left_bytes = trace_backlog(&link->server, now_ns) - (double)behind_bytes;
	else
		left_bytes = (double)(head->departure_ns - now_ns) / link->server.ns_per_byte;
	return fmin(fmax(left_bytes, 0), head->wire_bytes);
}

/* A constant rate from now on: everything queued gets a new departure, the packet in service for the part it lacks. */
static void link_rate_set(struct link *link, double rate_bps, int64_t now_ns)
{
	const bool is_codel = link->queue_kind == CCDRL_QUEUE_CODEL;
	struct packet_ring *ring = is_codel ? &link->queue : &link->pipe;
	const uint32_t first = is_codel ? ring->head : link->in_service;
	const uint32_t end = is_codel && first != ring->tail ? first + 1 : ring->tail;

	if (first != end) {
		const struct packet *head = &ring->slots[first & ring->mask];

		link->head_left_bytes = link_head_left(link, head, is_codel ? 0 : link->queue_bytes - head->wire_bytes, now_ns);
	}
	trace_free(link->server.trace);
	link->server = (struct server){
		.ns_per_byte = rate_ns_per_byte(rate_bps),
		.free_ns = first == end ? link->server.free_ns : now_ns,
	};
	for (uint32_t i = first; i != end; i++) {
		struct packet *packet = &ring->slots[i & ring->mask];

		packet->departure_ns = server_depart(&link->server, now_ns, i != first,
		    i == first ? link->head_left_bytes : packet->wire_bytes);
	}
}

/* New arrivals at the far end, jitter drawn anew, for packets that have not departed; they stay behind those that have. */
static void link_arrivals_update(struct ccdrl_sim *sim, struct link *link)
{
	struct packet_ring *pipe = &link->pipe;

	link->last_arrival_ns = link->in_service == pipe->head ? sim->now_ns :
	    pipe->slots[(link->in_service - 1) & pipe->mask].arrival_ns;
	for (uint32_t i = link->in_service; i != pipe->tail; i++) {
		struct packet *packet = &pipe->slots[i & pipe->mask];

		packet->arrival_ns = link_arrival(link, packet->departure_ns);
	}
	if (link->queue_kind == CCDRL_QUEUE_CODEL)
		codel_source_set(sim, link);
	else
		source_set(sim, link->source, pipe->head == pipe->tail ? TIME_NEVER :
		    pipe->slots[pipe->head & pipe->mask].arrival_ns);
}

/* An interface that goes down loses its queue; what has left it arrives. */
static void link_take_down(struct ccdrl_sim *sim, struct link *link)
{
	struct packet_ring *ring = link->queue_kind == CCDRL_QUEUE_CODEL ? &link->queue : &link->pipe;
	const uint32_t first = ring == &link->pipe ? link->in_service : ring->head;
	const uint32_t end = ring->tail;

	link->is_down = true;
	link_integrate(link, sim->now_ns);
	link->queue_bytes = 0;
	if (first != end)
		link->server.free_ns = sim->now_ns;
	ring->tail = first;
	for (uint32_t i = first; i != end; i++) {
		const struct packet packet = ring->slots[i & ring->mask];

		link_packet_lose(sim, link, &packet);
	}
	link_arrivals_update(sim, link);
}

void link_event(struct ccdrl_sim *sim, struct link *link, const struct ccdrl_event_config *event)
{
	link_capacity_update(link, sim->now_ns);
	if (link->queue_kind == CCDRL_QUEUE_CODEL)
		codel_advance(sim, link);
	else
		link_drain(link, sim->now_ns);
	switch (event->kind) {
	case CCDRL_EVENT_RATE:
		link_rate_set(link, event->rate_bps, sim->now_ns);
		link_arrivals_update(sim, link);
		break;
	case CCDRL_EVENT_DELAY:
		link->delay_ns = event->delay_ns;
		link_arrivals_update(sim, link);
		break;
	case CCDRL_EVENT_LOSS:
		link_loss_set(link, &event->loss);
		break;
	case CCDRL_EVENT_DOWN:
		if (!link->is_down)
			link_take_down(sim, link);
		break;
	case CCDRL_EVENT_UP:
		link->is_down = false;
		break;
	default:
		break;
	}
}
