/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * csim.h: building a network, checking what it is built from, and the event loop.
 */
#include <stdio.h>
#include <stdarg.h>

#include "internal.h"

static int refuse(struct ccdrl_sim *sim, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sim->error, sizeof(sim->error), format, arguments);
	va_end(arguments);
	return code;
}

struct ccdrl_sim *ccdrl_sim_new(uint64_t seed)
{
	struct ccdrl_sim *sim = calloc(1, sizeof(*sim));

	if (sim == NULL)
		return NULL;
	sim->seed = seed;
	sim->has_stats = true;
	sim->cwnd_max_bytes = UINT32_MAX;
	sim->events_source = source_add(sim, SOURCE_EVENTS, sim);
	if (sim->events_source == UINT32_MAX) {
		ccdrl_sim_free(sim);
		return NULL;
	}
	return sim;
}

void ccdrl_sim_free(struct ccdrl_sim *sim)
{
	if (sim == NULL)
		return;
	for (uint32_t i = 0; i < sim->n_conns; i++)
		conn_free(sim->conns[i]);
	for (uint32_t i = 0; i < sim->n_links; i++)
		link_free(sim->links[i]);
	free(sim->conns);
	free(sim->links);
	free(sim->events);
	free(sim->drl);
	free(sim->sources);
	free(sim->tree);
	record_free(sim);
	free(sim);
}

const char *ccdrl_sim_error(const struct ccdrl_sim *sim)
{
	return sim->error;
}

int ccdrl_link_add(struct ccdrl_sim *sim, const struct ccdrl_link_config *config)
{
	struct link **links;
	struct link *link;

	links = realloc(sim->links, (sim->n_links + 1) * sizeof(*links));
	if (links == NULL)
		return refuse(sim, CCDRL_ERR_MEMORY, "out of memory");
	sim->links = links;
	link = link_new(sim, config, sim->n_links);
	if (link == NULL)		/* the error's sentence is link_new's */
		return sim->is_out_of_memory ? CCDRL_ERR_MEMORY : CCDRL_ERR_ARGUMENT;
	sim->links[sim->n_links] = link;
	return (int)sim->n_links++;
}

int ccdrl_flow_add(struct ccdrl_sim *sim, const struct ccdrl_flow_config *config)
{
	struct conn **conns;
	struct conn *conn;

	if (config->cc >= CCDRL_CC_COUNT || config->scheduler >= CCDRL_SCHEDULER_COUNT)
		return refuse(sim, CCDRL_ERR_ARGUMENT, "unknown controller or scheduler");
	if (config->n_paths < 1 || config->n_paths > DRL_SUBFLOWS_MAX)
		return refuse(sim, CCDRL_ERR_ARGUMENT, "a flow has 1 to %d paths", DRL_SUBFLOWS_MAX);
	for (uint32_t i = 0; i < config->n_paths; i++) {
		const struct ccdrl_path_config *path = &config->paths[i];

		if (path->n_links < 1 || path->n_links > CCDRL_PATH_LINKS_MAX || path->extra_delay_ns < 0)
			return refuse(sim, CCDRL_ERR_ARGUMENT, "a path has 1 to %d links", CCDRL_PATH_LINKS_MAX);
		for (uint32_t j = 0; j < path->n_links; j++)
			if (path->links[j] >= sim->n_links)
				return refuse(sim, CCDRL_ERR_ARGUMENT, "path %u names link %u of %u", i, path->links[j], sim->n_links);
	}
	if (config->mss_bytes < 64 || config->mss_bytes > 65000)
		return refuse(sim, CCDRL_ERR_ARGUMENT, "mss_bytes must be in [64, 65000]");
	if (config->start_ns < sim->now_ns)
		return refuse(sim, CCDRL_ERR_STATE, "the flow starts in the past");
	if (!(config->app_rate_bps >= 0) || !(config->initial_cwnd_segments >= 0) || !(config->fixed_cwnd_segments >= 0))
		return refuse(sim, CCDRL_ERR_ARGUMENT, "rates and windows must not be negative");
	conns = realloc(sim->conns, (sim->n_conns + 1) * sizeof(*conns));
	if (conns == NULL)
		return refuse(sim, CCDRL_ERR_MEMORY, "out of memory");
	sim->conns = conns;
	conn = conn_new(sim, config, sim->n_conns);
	if (conn == NULL)
		return refuse(sim, CCDRL_ERR_MEMORY, "out of memory");
	sim->conns[sim->n_conns] = conn;
	return (int)sim->n_conns++;
}

/* Kept in order of time; equal times in the order of the calls. */
int ccdrl_event_add(struct ccdrl_sim *sim, const struct ccdrl_event_config *config)
{
	struct ccdrl_event_config *events;
	uint32_t at = sim->n_events;

	if (config->kind > CCDRL_EVENT_UP || config->link >= sim->n_links || loss_config_error(&config->loss) != NULL ||
	    (config->kind == CCDRL_EVENT_RATE && !(config->rate_bps >= 0 && isfinite(config->rate_bps))) || config->delay_ns < 0)
		return refuse(sim, CCDRL_ERR_ARGUMENT, "event on an unknown link, of an unknown kind or with a bad value");
	if (config->at_ns < sim->now_ns)
		return refuse(sim, CCDRL_ERR_STATE, "the event is in the past");
	events = realloc(sim->events, (sim->n_events + 1) * sizeof(*events));
	if (events == NULL)
		return refuse(sim, CCDRL_ERR_MEMORY, "out of memory");
	sim->events = events;
	for (; at > sim->next_event && events[at - 1].at_ns > config->at_ns; at--)
		events[at] = events[at - 1];
	events[at] = *config;
	sim->n_events++;
	source_set(sim, sim->events_source, events[sim->next_event].at_ns);
	return CCDRL_OK;
}

static void events_fire(struct ccdrl_sim *sim)
{
	while (sim->next_event < sim->n_events && sim->events[sim->next_event].at_ns <= sim->now_ns) {
		const struct ccdrl_event_config *event = &sim->events[sim->next_event++];
		struct link *link = sim->links[event->link];

		sim->n_links_down -= link_is_down(link);
		link_event(sim, link, event);
		sim->n_links_down += link_is_down(link);
		for (uint32_t i = 0; event->kind == CCDRL_EVENT_DELAY && i < sim->n_conns; i++)
			for (uint32_t j = 0; j < sim->conns[i]->n_subflows; j++)
				subflow_base_rtt_refresh(&sim->conns[i]->subflows[j]);
	}
	source_set(sim, sim->events_source,
	    sim->next_event < sim->n_events ? sim->events[sim->next_event].at_ns : TIME_NEVER);
}

int ccdrl_sim_run(struct ccdrl_sim *sim, int64_t until_ns)
{
	if (until_ns < sim->now_ns)
		return refuse(sim, CCDRL_ERR_STATE, "cannot run to a time in the past");
	for (;;) {
		event_key next = sim->tree[1];
		const struct source *source = &sim->sources[(uint32_t)next];

		if ((int64_t)(next >> 64) > until_ns)
			break;
		sim->now_ns = (int64_t)(next >> 64);
		switch (source->kind) {
		case SOURCE_LINK:
			link_fire(sim, source->object);
			break;
		case SOURCE_ACKS:
			subflow_acks_fire(source->object);
			break;
		case SOURCE_TIMER:
			subflow_timer_fire(source->object);
			break;
		case SOURCE_TAIL:
			subflow_tail_fire(source->object);
			break;
		case SOURCE_CONN:
			conn_fire(source->object);
			break;
		case SOURCE_EVENTS:
			events_fire(sim);
			break;
		}
	}
	sim->now_ns = until_ns;
	if (sim->is_out_of_memory)
		return refuse(sim, CCDRL_ERR_MEMORY, "out of memory");
#ifdef CCDRL_DEBUG
	if (ccdrl_sim_check(sim) != CCDRL_OK) {
		fprintf(stderr, "%s\n", sim->error);
		abort();
	}
#endif
	return CCDRL_OK;
}

int64_t ccdrl_sim_now(const struct ccdrl_sim *sim)
{
	return sim->now_ns;
}

uint64_t ccdrl_sim_packets(const struct ccdrl_sim *sim)
{
	return sim->sent_packets;
}

void ccdrl_sim_stats_enable(struct ccdrl_sim *sim, uint32_t is_enabled)
{
	sim->has_stats = is_enabled != 0;
}

int ccdrl_flow_reading_set(struct ccdrl_sim *sim, uint32_t flow, uint32_t is_reading)
{
	if (flow >= sim->n_conns)
		return refuse(sim, CCDRL_ERR_ARGUMENT, "no flow %u", flow);
	conn_reading_set(sim->conns[flow], is_reading != 0);
	return CCDRL_OK;
}

static struct subflow *find_subflow(struct ccdrl_sim *sim, uint32_t flow, uint32_t path)
{
	if (flow >= sim->n_conns || path >= sim->conns[flow]->n_subflows) {
		refuse(sim, CCDRL_ERR_ARGUMENT, "no path %u of flow %u", path, flow);
		return NULL;
	}
	return &sim->conns[flow]->subflows[path];
}

int ccdrl_subflow_remove(struct ccdrl_sim *sim, uint32_t flow, uint32_t path)
{
	struct subflow *sf = find_subflow(sim, flow, path);

	if (sf == NULL)
		return CCDRL_ERR_ARGUMENT;
	subflow_close(sf);
	conn_push(sf->conn);
	return CCDRL_OK;
}

int ccdrl_subflow_join(struct ccdrl_sim *sim, uint32_t flow, uint32_t path)
{
	struct subflow *sf = find_subflow(sim, flow, path);

	if (sf == NULL)
		return CCDRL_ERR_ARGUMENT;
	if (!sf->conn->is_started || sf->conn->is_stopped || !sf->is_closed)
		return refuse(sim, CCDRL_ERR_STATE, "only a removed subflow of a running connection can join again");
	subflow_connect(sf);
	return CCDRL_OK;
}

static uint32_t packets_inside(const struct subflow *sf)
{
	uint32_t inside = sf->tail.tail - sf->tail.head;

	for (uint32_t i = 0; i < sf->n_links; i++) {
		bool is_seen = false;

		for (uint32_t j = 0; j < i; j++)
			is_seen |= sf->links[j] == sf->links[i];
		if (!is_seen)
			inside += link_packets_of(sf->links[i], sf);
	}
	return inside;
}

static bool is_scoreboard_right(const struct subflow *sf)
{
	uint32_t sacked = 0, lost = 0, retransmitted = 0;

	for (uint32_t seq = sf->snd_una; seq != sf->snd_nxt; seq++) {
		uint8_t flags = subflow_segment(sf, seq)->flags;

		sacked += (flags & SEGMENT_SACKED) != 0;
		lost += (flags & SEGMENT_LOST) != 0;
		retransmitted += (flags & SEGMENT_RETRANSMITTED) != 0;
	}
	return sacked == sf->sacked && lost == sf->lost && retransmitted == sf->retransmitted;
}

int ccdrl_sim_check(struct ccdrl_sim *sim)
{
	for (uint32_t i = 0; i < sim->n_conns; i++) {
		const struct conn *conn = sim->conns[i];

		for (uint32_t j = 0; j < conn->n_subflows; j++) {
			const struct subflow *sf = &conn->subflows[j];
			uint64_t accounted = sf->received_packets + sf->dropped_packets + packets_inside(sf);

			if (sf->sent_packets != accounted)
				return refuse(sim, CCDRL_ERR_STATE, "flow %u path %u: %llu packets sent, %llu accounted for", i, j,
				    (unsigned long long)sf->sent_packets, (unsigned long long)accounted);
			if (!is_scoreboard_right(sf))
				return refuse(sim, CCDRL_ERR_STATE, "flow %u path %u: the scoreboard's counts are off", i, j);
		}
		if (conn->rcv_dsn_nxt > conn->dsn_nxt || conn->goodput_bytes + conn->unread_bytes != conn->rcv_dsn_nxt ||
		    (int32_t)(conn->map_una - conn->map_free) < 0 || (int32_t)(conn->rcv_map_nxt - conn->map_una) < 0)
			return refuse(sim, CCDRL_ERR_STATE, "flow %u: the data-level sequence is out of order", i);
	}
	return CCDRL_OK;
}
