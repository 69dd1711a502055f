/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The MPTCP control block, after "Design Overview of Multipath TCP version 0.4 for FreeBSD-11" (CAIA TR 140822A):
 *   data-sequence maps (III-D1), one segment each, shared by reference between the subflows and the send buffer;
 *   a map is handed to the subflow that asks for one, reinjected maps first (figure 12);
 *   the send buffer advances with the data ACK, and bytes are dropped only when, besides, no subflow refers to them
 *   (III-E3, deferred drop, figure 8);
 *   data-level reassembly starts when a segment arrives that is next in data sequence (III-C);
 *   data-level retransmission of what a subflow carries after a quarter of its allowed RTOs (III-G, figure 13);
 *   joins after the first subflow is up; a reset subflow leaves the others alone (III-H) and tries to join again.
 */
#include "internal.h"

#define RWND_DEFAULT_BYTES (1ULL << 30)
#define ACK_SEGMENTS_DEFAULT 2

struct conn *conn_new(struct ccdrl_sim *sim, const struct ccdrl_flow_config *config, uint32_t index)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->sim = sim;
	conn->index = index;
	conn->config = *config;
	if (conn->config.rwnd_bytes == 0)
		conn->config.rwnd_bytes = RWND_DEFAULT_BYTES;
	if (conn->config.ack_segments == 0)
		conn->config.ack_segments = ACK_SEGMENTS_DEFAULT;
	conn->rwnd_edge = conn->config.rwnd_bytes;
	conn->is_reading = true;
	conn->completion_ns = -1;
	conn->blest_lambda = 1.0;
	conn->map_mask = 127;
	conn->maps = malloc((conn->map_mask + 1) * sizeof(*conn->maps));
	conn->subflows = calloc(config->n_paths, sizeof(*conn->subflows));
	conn->source = source_add(sim, SOURCE_CONN, conn);
	if (conn->maps == NULL || conn->subflows == NULL || conn->source == UINT32_MAX) {
		conn_free(conn);
		return NULL;
	}
	for (; conn->n_subflows < config->n_paths; conn->n_subflows++) {
		if (!subflow_init(&conn->subflows[conn->n_subflows], conn, conn->n_subflows)) {
			conn->n_subflows++;
			conn_free(conn);
			return NULL;
		}
	}
	source_set(sim, conn->source, config->start_ns);
	return conn;
}

void conn_free(struct conn *conn)
{
	for (uint32_t i = 0; i < conn->n_subflows; i++)
		subflow_free(&conn->subflows[i]);
	free(conn->subflows);
	free(conn->maps);
	free(conn);
}

/* Bytes the application has written by now. */
static uint64_t written_bytes(const struct conn *conn)
{
	uint64_t limit = conn->config.size_bytes ? conn->config.size_bytes : UINT64_MAX;
	double written;

	if (conn->config.app_rate_bps <= 0)
		return limit;
	written = conn->config.app_rate_bps / 8.0 * (double)(conn->sim->now_ns - conn->config.start_ns) / (double)NS_PER_S;
	return written < (double)limit ? (uint64_t)written : limit;
}

uint64_t conn_unsent_bytes(const struct conn *conn)
{
	uint64_t written = written_bytes(conn);

	return written > conn->dsn_nxt ? written - conn->dsn_nxt : 0;
}

/* Length of the next map: a full segment, or the end of a finite transfer; 0: wait for the application. */
static uint32_t next_length(const struct conn *conn)
{
	uint64_t unsent, mss = conn->config.mss_bytes;

	if (likely(conn->config.size_bytes == 0 && conn->config.app_rate_bps <= 0))
		return (uint32_t)mss;
	unsent = conn_unsent_bytes(conn);
	if (unsent >= mss)
		return (uint32_t)mss;
	return conn->config.size_bytes != 0 && conn->dsn_nxt + unsent == conn->config.size_bytes ? (uint32_t)unsent : 0;
}

static bool grow_maps(struct conn *conn)
{
	uint32_t capacity = 2 * (conn->map_mask + 1);
	struct map *maps = malloc(capacity * sizeof(*maps));

	if (maps == NULL) {
		conn->sim->is_out_of_memory = true;
		return false;
	}
	for (uint32_t i = conn->map_free; i != conn->map_nxt; i++)
		maps[i & (capacity - 1)] = conn->maps[i & conn->map_mask];
	free(conn->maps);
	conn->maps = maps;
	conn->map_mask = capacity - 1;
	return true;
}

static bool new_map(struct conn *conn, uint32_t length_bytes)
{
	if (unlikely(conn->map_nxt - conn->map_free > conn->map_mask) && !grow_maps(conn))
		return false;
	*conn_map(conn, conn->map_nxt) = (struct map){ .dsn = conn->dsn_nxt, .length_bytes = (uint16_t)length_bytes };
	conn->dsn_nxt += length_bytes;
	conn->map_nxt++;
	return true;
}

/* Figure 12, first question: a map that waits for data-level retransmission, and a subflow with room that has not had it. */
static bool push_reinjection(struct conn *conn)
{
	if ((int32_t)(conn->reinject_scan - conn->map_una) < 0)
		conn->reinject_scan = conn->map_una;
	for (; conn->n_reinject > 0 && conn->reinject_scan != conn->map_nxt; conn->reinject_scan++) {
		struct map *map = conn_map(conn, conn->reinject_scan);
		struct subflow *sf;

		if (!(map->flags & MAP_REINJECT))
			continue;
		sf = scheduler_pick(conn, map->subflows);
		if (sf == NULL)
			return false;
		map->flags = (uint8_t)((map->flags & ~MAP_REINJECT) | MAP_REINJECTED);
		conn->n_reinject--;
		conn->reinjected_bytes += map->length_bytes;
		subflow_send_map(sf, conn->reinject_scan++);
		return true;
	}
	return false;
}

/* Redundant scheduler: a map that others carry already. */
static bool push_copy(struct conn *conn)
{
	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		struct subflow *sf = &conn->subflows[i];
		uint32_t *next = &conn->redundant_next[i];

		if (!sf->is_established || sf->is_failed || !subflow_may_send(sf))
			continue;
		if ((int32_t)(*next - conn->map_una) < 0)
			*next = conn->map_una;
		while (*next != conn->map_nxt && conn_map(conn, *next)->subflows >> i & 1)
			(*next)++;
		if (*next != conn->map_nxt) {
			subflow_send_map(sf, (*next)++);
			return true;
		}
	}
	return false;
}

static void note_app_limited(struct conn *conn)
{
	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		struct subflow *sf = &conn->subflows[i];
		uint32_t inflight = subflow_inflight(sf);

		if (inflight < sf->cwnd)
			sf->app_limited_until = sf->delivered_segments + inflight + 1;
	}
}

static void note_rwnd_limited(struct conn *conn)
{
	bool is_any_inflight = false;

	conn->is_rwnd_limited = true;
	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		struct subflow *sf = &conn->subflows[i];

		if (sf->cc == &cc_drl)
			sf->u.drl.was_rwnd_limited = true;
		is_any_inflight |= sf->is_established && sf->snd_una != sf->snd_nxt;
	}
	for (uint32_t i = 0; i < conn->n_subflows && !is_any_inflight; i++) {
		struct subflow *sf = &conn->subflows[i];

		if (sf->is_established && sf->persist_deadline_ns == TIME_NEVER) {
			sf->persist_backoff = 0;
			sf->persist_deadline_ns = conn->sim->now_ns + sf->rto_ns;
			subflow_timer_need(sf, sf->persist_deadline_ns);
			break;
		}
	}
}

void conn_push(struct conn *conn)
{
	bool is_redundant = conn->config.scheduler == CCDRL_SCHEDULER_REDUNDANT && conn->n_subflows > 1;
	bool is_sticky = conn->config.scheduler == CCDRL_SCHEDULER_MINRTT;	/* the pick holds while it has room */
	struct subflow *sf = NULL;

	if (!conn->is_started || conn->is_stopped)
		return;
	for (uint32_t i = 0; i < conn->n_subflows; i++) {	/* subflow-level retransmissions come first */
		struct subflow *sf = &conn->subflows[i];

		while (unlikely(sf->lost > 0) && sf->is_established && subflow_may_send(sf))
			recovery_retransmit_next(sf);
	}
	conn->is_backlogged = conn->is_rwnd_limited = false;
	while (unlikely(conn->n_reinject > 0) && push_reinjection(conn))
		;
	for (;;) {
		uint32_t length_bytes;

		if (unlikely(is_redundant) && push_copy(conn))
			continue;
		length_bytes = next_length(conn);
		if (unlikely(length_bytes == 0)) {
			note_app_limited(conn);
			break;
		}
		if (unlikely(conn->dsn_nxt + length_bytes > conn->rwnd_edge)) {
			note_rwnd_limited(conn);
			break;
		}
		if (!is_sticky || sf == NULL || !subflow_may_send(sf))
			sf = scheduler_pick(conn, 0);
		if (sf == NULL) {
			conn->is_backlogged = true;
			break;
		}
		if (unlikely(!new_map(conn, length_bytes))) {
			conn->is_backlogged = true;
			break;
		}
		subflow_send_map(sf, conn->map_nxt - 1);
	}
	if (conn->config.app_rate_bps > 0)
		conn_fire(conn);	/* re-arm the application's next write */
}

void conn_data_ack(struct conn *conn, const struct ack *ack)
{
	if (ack->rwnd_edge > conn->rwnd_edge) {
		conn->rwnd_edge = ack->rwnd_edge;
		for (uint32_t i = 0; i < conn->n_subflows; i++)
			conn->subflows[i].persist_deadline_ns = TIME_NEVER;
	}
	if ((int32_t)(ack->data_ack - conn->map_una) > 0) {
		for (; unlikely(conn->n_reinject > 0) && conn->map_una != ack->data_ack; conn->map_una++) {
			struct map *map = conn_map(conn, conn->map_una);

			conn->n_reinject -= (map->flags & MAP_REINJECT) != 0;
			map->flags &= (uint8_t)~MAP_REINJECT;
		}
		conn->map_una = ack->data_ack;
	}
	while (conn->map_free != conn->map_una && conn_map(conn, conn->map_free)->references == 0)
		conn->map_free++;	/* deferred drop */
}

/* In order at the data level: to the application, or into the receive buffer while it does not read. */
static void deliver(struct conn *conn, uint64_t length_bytes)
{
	conn->rcv_dsn_nxt += length_bytes;
	if (unlikely(!conn->is_reading)) {
		conn->unread_bytes += length_bytes;
		return;
	}
	conn->goodput_bytes += length_bytes;
	if (unlikely(conn->goodput_bytes == conn->config.size_bytes) && conn->config.size_bytes > 0)
		conn->completion_ns = conn->sim->now_ns - conn->config.start_ns;
}

void conn_map_delivered(struct conn *conn, uint32_t map_index)
{
	struct map *map = conn_map(conn, map_index);

	if ((int32_t)(map_index - conn->rcv_map_nxt) < 0 || map->flags & MAP_DELIVERED)
		return;			/* a copy: reinjected or redundant */
	map->flags |= MAP_DELIVERED;
	while (conn->rcv_map_nxt != conn->map_nxt && conn_map(conn, conn->rcv_map_nxt)->flags & MAP_DELIVERED)
		deliver(conn, conn_map(conn, conn->rcv_map_nxt++)->length_bytes);
}

/* Figure 13: a reference to each map of this subflow without a data ACK goes to the data-level retransmit list. */
void conn_reinject(struct conn *conn, const struct subflow *sf)
{
	for (uint32_t seq = sf->snd_una; seq != sf->snd_nxt; seq++) {
		const struct segment *segment = subflow_segment(sf, seq);
		struct map *map = conn_map(conn, segment->map);

		if (segment->flags & SEGMENT_SACKED || (int32_t)(segment->map - conn->map_una) < 0)
			continue;
		if (map->flags & (MAP_REINJECT | MAP_REINJECTED) && map->references > 1)
			continue;	/* another subflow carries it already */
		conn->n_reinject += !(map->flags & MAP_REINJECT);
		map->flags |= MAP_REINJECT;
		if ((int32_t)(segment->map - conn->reinject_scan) < 0)
			conn->reinject_scan = segment->map;
	}
}

void conn_established(struct conn *conn, struct subflow *sf)
{
	if (!conn->is_started) {
		conn->is_started = true;
		for (uint32_t i = 0; i < conn->n_subflows; i++)	/* MP_JOIN needs the first subflow's key exchange */
			if (&conn->subflows[i] != sf)
				subflow_connect(&conn->subflows[i]);
	}
	conn_push(conn);
}

void conn_window_probe(struct subflow *sf)
{
	struct packet packet = {
		.sent_ns = sf->sim->now_ns, .subflow = sf, .seq = sf->snd_nxt, .wire_bytes = CCDRL_HEADER_BYTES,
		.flags = PACKET_PROBE,
	};

	sf->sent_packets++;
	record(sf, CCDRL_RECORD_PROBE, sf->snd_nxt, UINT32_MAX);
	link_send(sf->sim, sf->links[0], &packet);
}

static void conn_stop(struct conn *conn)
{
	conn->is_stopped = true;
	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		struct subflow *sf = &conn->subflows[i];

		subflow_close(sf);
		sf->timer_set_ns = TIME_NEVER;
		source_set(conn->sim, sf->timer_source, TIME_NEVER);
	}
	source_set(conn->sim, conn->source, TIME_NEVER);
}

void conn_fire(struct conn *conn)
{
	const struct ccdrl_flow_config *config = &conn->config;
	int64_t now_ns = conn->sim->now_ns, next_ns = config->stop_ns >= 0 ? config->stop_ns : TIME_NEVER;
	struct subflow *first = &conn->subflows[0];

	if (config->stop_ns >= 0 && now_ns >= config->stop_ns) {
		conn_stop(conn);
		return;
	}
	if (!conn->is_started && first->syn_deadline_ns == TIME_NEVER && first->timer_set_ns == TIME_NEVER)
		subflow_connect(first);
	if (conn->is_started && config->app_rate_bps > 0) {
		if (next_length(conn) > 0 && !conn->is_backlogged && !conn->is_rwnd_limited) {
			conn_push(conn);	/* comes back here with nothing left to send */
			return;
		}
		if (next_length(conn) == 0) {
			double wanted = (double)(conn->dsn_nxt + config->mss_bytes);
			int64_t write_ns;

			if (config->size_bytes > 0 && wanted > (double)config->size_bytes)
				wanted = (double)config->size_bytes;
			write_ns = config->start_ns + (int64_t)ceil(wanted * 8.0 / config->app_rate_bps * NS_PER_S) + 1;
			if (wanted > (double)conn->dsn_nxt && write_ns < next_ns)
				next_ns = write_ns > now_ns ? write_ns : now_ns + 1;
		}
	}
	source_set(conn->sim, conn->source, next_ns);
}

void conn_reading_set(struct conn *conn, bool is_reading)
{
	uint64_t unread_bytes = conn->unread_bytes;

	conn->is_reading = is_reading;
	if (!is_reading || unread_bytes == 0)
		return;
	conn->unread_bytes = 0;
	conn->rcv_dsn_nxt -= unread_bytes;
	deliver(conn, unread_bytes);
	for (uint32_t i = 0; i < conn->n_subflows; i++)	/* window update (RFC 9293 section 3.8.6.2.2) */
		if (conn->subflows[i].is_established)
			receiver_ack(&conn->subflows[i]);
}
