/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A subflow's life: handshake, RTT estimation, transmission, pacing, the way through the links.
 */
#include "internal.h"

#define INITIAL_WINDOW_SEGMENTS 10	/* RFC 6928 */
#define SYN_RTO_NS NS_PER_S		/* RFC 6298 section 2 */
#define SYN_RTO_MAX_NS (60 * NS_PER_S)
#define RTO_MIN_NS (200 * NS_PER_MS)
#define MIN_RTT_WINDOW_NS (300 * NS_PER_S)

static const struct cc_ops *const cc_table[CCDRL_CC_COUNT] = {
	[CCDRL_CC_RENO] = &cc_reno, [CCDRL_CC_CUBIC] = &cc_cubic, [CCDRL_CC_BBR] = &cc_bbr, [CCDRL_CC_LIA] = &cc_lia,
	[CCDRL_CC_OLIA] = &cc_olia, [CCDRL_CC_BALIA] = &cc_balia, [CCDRL_CC_WVEGAS] = &cc_wvegas,
	[CCDRL_CC_EWTCP] = &cc_ewtcp, [CCDRL_CC_DRL] = &cc_drl, [CCDRL_CC_FIXED] = &cc_fixed,
};

bool subflow_init(struct subflow *sf, struct conn *conn, uint32_t index)
{
	const struct ccdrl_path_config *path = &conn->config.paths[index];
	struct ccdrl_sim *sim = conn->sim;

	sf->sim = sim;
	sf->conn = conn;
	sf->cc = cc_table[conn->config.cc];
	sf->index = index;
	sf->mss_bytes = conn->config.mss_bytes;
	sf->n_links = path->n_links;
	for (uint32_t i = 0; i < path->n_links; i++)
		sf->links[i] = sim->links[path->links[i]];
	sf->extra_delay_ns = path->extra_delay_ns;
	subflow_base_rtt_refresh(sf);
	sf->delack_deadline_ns = sf->pace_deadline_ns = sf->reorder_deadline_ns = sf->persist_deadline_ns =
	    sf->syn_deadline_ns = sf->timer_set_ns = TIME_NEVER;
	sf->timer_source = source_add(sim, SOURCE_TIMER, sf);
	sf->acks_source = source_add(sim, SOURCE_ACKS, sf);
	sf->tail_source = sf->extra_delay_ns > 0 ? source_add(sim, SOURCE_TAIL, sf) : 0;
	if (sf->timer_source == UINT32_MAX || sf->acks_source == UINT32_MAX || sf->tail_source == UINT32_MAX)
		return false;
	if (!histogram_init(&sf->rtt) || !histogram_init(&sf->queue_delay))
		return false;
	return subflow_grow_segments(sf);
}

void subflow_free(struct subflow *sf)
{
	free(sf->segments);
	free(sf->retransmissions);
	free(sf->rcv_bitmap);
	free(sf->tail.slots);
	free(sf->acks.slots);
	free(sf->rtt.counts);
	free(sf->queue_delay.counts);
}

void subflow_base_rtt_refresh(struct subflow *sf)
{
	int64_t one_way_ns = sf->extra_delay_ns;

	for (uint32_t i = 0; i < sf->n_links; i++)
		one_way_ns += link_delay_ns(sf->links[i]);
	sf->base_rtt_ns = 2 * one_way_ns;
}

bool subflow_is_cut(const struct subflow *sf)
{
	for (uint32_t i = 0; i < sf->n_links; i++)
		if (link_is_down(sf->links[i]))
			return true;
	return false;
}

bool subflow_grow_segments(struct subflow *sf)
{
	uint32_t capacity = sf->segments ? 2 * (sf->segment_mask + 1) : 128;
	struct segment *segments = malloc(capacity * sizeof(*segments));
	uint64_t *bitmap = calloc(capacity / 64, sizeof(*bitmap));
	struct retransmission *retransmissions = malloc(capacity * sizeof(*retransmissions));

	if (segments == NULL || bitmap == NULL || retransmissions == NULL) {
		free(segments);
		free(bitmap);
		free(retransmissions);
		sf->sim->is_out_of_memory = true;
		return false;
	}
	for (uint32_t seq = sf->snd_una; seq != sf->snd_nxt; seq++)
		segments[seq & (capacity - 1)] = sf->segments[seq & sf->segment_mask];
	for (uint32_t i = sf->retransmission_head; i != sf->retransmission_tail; i++)
		retransmissions[i & (capacity - 1)] = sf->retransmissions[i & sf->retransmission_mask];
	free(sf->segments);
	free(sf->retransmissions);
	sf->segments = segments;
	sf->retransmissions = retransmissions;
	sf->segment_mask = sf->retransmission_mask = capacity - 1;
	receiver_bitmap_grow(sf, bitmap, capacity - 1);
	return true;
}

/* The handshake is one round trip on the path as it stands (propagation and queues); SYNs meet link-down and random loss. */
void subflow_connect(struct subflow *sf)
{
	struct ccdrl_sim *sim = sf->sim;
	int64_t rtt_ns = sf->base_rtt_ns, retry_ns;
	bool is_lost = subflow_is_cut(sf);

	for (uint32_t i = 0; i < sf->n_links; i++) {
		is_lost |= link_loss_draw(sf->links[i]);
		if (!is_lost)
			rtt_ns += link_backlog_ns(sim, sf->links[i]);
		is_lost |= rtt_ns > SYN_RTO_MAX_NS;	/* a stalled link */
	}
	sf->is_closed = false;
	sf->is_syn_sent = !is_lost;
	if (is_lost) {
		retry_ns = SYN_RTO_NS << (sf->syn_attempts < 6 ? sf->syn_attempts : 6);
		rtt_ns = retry_ns < SYN_RTO_MAX_NS ? retry_ns : SYN_RTO_MAX_NS;
		sf->syn_attempts++;
	} else {
		sf->last_rtt_ns = rtt_ns;
	}
	sf->syn_deadline_ns = sim->now_ns + rtt_ns;
	subflow_timer_need(sf, sf->syn_deadline_ns);
}

/* Make-after-break: a reset subflow tries to join again; the connection outlives all of its subflows. */
void subflow_rejoin(struct subflow *sf)
{
	sf->syn_attempts = 0;
	sf->is_syn_sent = false;
	sf->syn_deadline_ns = sf->sim->now_ns + SYN_RTO_NS;
	subflow_timer_need(sf, sf->syn_deadline_ns);
}

void subflow_establish(struct subflow *sf)
{
	double initial = sf->conn->config.initial_cwnd_segments;

	sf->syn_deadline_ns = TIME_NEVER;
	sf->syn_attempts = 0;
	sf->is_established = true;
	sf->is_failed = false;
	sf->state = DRL_STATE_OPEN;
	sf->backoff = 0;
	sf->srtt_ns = sf->rttvar_ns = sf->min_rtt_ns = sf->rto_ns = 0;
	sf->cwnd = initial > 0 ? initial : INITIAL_WINDOW_SEGMENTS;
	sf->ssthresh = INFINITY;
	sf->cwnd_stamp_ns = sf->sim->now_ns;
	sf->pacing_bytes_per_s = 0;
	sf->pace_next_ns = 0;
	sf->loss_scan = sf->retransmit_scan = sf->high_seq = sf->snd_nxt;
	memset(&sf->u, 0, sizeof(sf->u));
	subflow_rtt_sample(sf, sf->last_rtt_ns, sf->last_rtt_ns);
	if (sf->cc == &cc_drl)
		drl_subflow_add(sf);
	if (sf->cc->init != NULL)
		sf->cc->init(sf);
	conn_established(sf->conn, sf);
}

void subflow_close(struct subflow *sf)
{
	struct conn *conn = sf->conn;

	if (sf->is_closed)
		return;
	subflow_cwnd_account(sf);
	sf->is_closed = true;
	if (sf->is_established) {
		if (!conn->is_stopped)
			conn_reinject(conn, sf);
		for (uint32_t seq = sf->snd_una; seq != sf->snd_nxt; seq++) {
			struct map *map = conn_map(conn, subflow_segment(sf, seq)->map);

			map->subflows &= (uint8_t)~(1U << sf->index);	/* after a new join it may carry them again */
			map->references--;
		}
		conn->redundant_next[sf->index] = conn->map_una;
		if (sf->cc == &cc_drl)
			drl_subflow_touch(sf, DRL_EVENT_CLOSED);
	}
	sf->is_established = false;
	sf->cwnd = 0;
	sf->snd_una = sf->loss_scan = sf->retransmit_scan = sf->snd_nxt;
	sf->sacked = sf->lost = sf->retransmitted = sf->sacked_below_scan = 0;
	sf->retransmission_head = sf->retransmission_tail;
	for (; sf->rcv_nxt != sf->rcv_highest; sf->rcv_nxt++)
		sf->rcv_bitmap[(sf->rcv_nxt & sf->rcv_mask) / 64] = 0;
	sf->rcv_nxt = sf->rcv_highest = sf->snd_nxt;
	sf->n_blocks = sf->unacked = 0;
	memset(sf->seen_blocks, 0, sizeof(sf->seen_blocks));
	sf->is_tlp_outstanding = sf->is_ce_pending = false;
	sf->delack_deadline_ns = sf->pace_deadline_ns = sf->reorder_deadline_ns = sf->persist_deadline_ns =
	    sf->syn_deadline_ns = TIME_NEVER;
}

void subflow_cwnd_account(struct subflow *sf)
{
	sf->cwnd_integral += sf->cwnd * (double)(sf->sim->now_ns - sf->cwnd_stamp_ns);
	sf->cwnd_stamp_ns = sf->sim->now_ns;
}

/* RFC 6298 section 2, with a floor of 200 ms under the RTO as Linux and FreeBSD have it. An ACK that covers several segments
   gives two RTTs, as in Linux's tcp_clean_rtx_queue(): from its oldest segment, as time stamps do (RFC 7323 section 4.3), for
   the estimator, and from its newest for what looks at the path. */
void subflow_rtt_sample(struct subflow *sf, int64_t smoothed_ns, int64_t newest_ns)
{
	int64_t variance_ns;

	sf->last_rtt_ns = newest_ns;
	if (sf->min_rtt_ns == 0 || newest_ns <= sf->min_rtt_ns || sf->sim->now_ns - sf->min_rtt_stamp_ns > MIN_RTT_WINDOW_NS) {
		sf->min_rtt_ns = newest_ns;
		sf->min_rtt_stamp_ns = sf->sim->now_ns;
	}
	if (sf->srtt_ns == 0) {
		sf->srtt_ns = smoothed_ns;
		sf->rttvar_ns = smoothed_ns / 2;
	} else {
		int64_t deviation_ns = sf->srtt_ns - smoothed_ns;

		sf->rttvar_ns += ((deviation_ns < 0 ? -deviation_ns : deviation_ns) - sf->rttvar_ns) / 4;
		sf->srtt_ns -= deviation_ns / 8;
	}
	variance_ns = 4 * sf->rttvar_ns > RTO_MIN_NS ? 4 * sf->rttvar_ns : RTO_MIN_NS; /* Linux: RTO >= srtt + 200 ms */
	sf->rto_ns = sf->srtt_ns + variance_ns;
	if (sf->rto_ns > RTO_MAX_NS)
		sf->rto_ns = RTO_MAX_NS;
}

bool subflow_may_send(struct subflow *sf)
{
	uint32_t inflight = subflow_inflight(sf);

	if (inflight > 0 && inflight + 1.0 > sf->cwnd)
		return false;
	if (likely(sf->pacing_bytes_per_s <= 0) || sf->pace_next_ns <= sf->sim->now_ns)
		return true;
	sf->pace_deadline_ns = sf->pace_next_ns;
	subflow_timer_need(sf, sf->pace_deadline_ns);
	return false;
}

void subflow_transmit(struct subflow *sf, uint32_t seq, bool is_retransmission)
{
	struct ccdrl_sim *sim = sf->sim;
	struct segment *segment = subflow_segment(sf, seq);
	struct packet packet = {
		.sent_ns = sim->now_ns, .subflow = sf, .seq = seq,
		.wire_bytes = (uint16_t)(segment->payload_bytes + CCDRL_HEADER_BYTES),
	};

	if (sf->snd_nxt - sf->snd_una == sf->sacked + sf->lost + (is_retransmission ? 0 : 1) && sf->backoff == 0) {
		sf->first_sent_ns = sf->delivered_ns = sim->now_ns;	/* the pipe was empty: a new sampling interval */
		sf->restart_ns = sim->now_ns;
	}
	segment->sent_ns = sim->now_ns;
	segment->first_sent_ns = sf->first_sent_ns;
	segment->delivered_ns = sf->delivered_ns;
	segment->delivered_segments = (uint32_t)sf->delivered_segments;
	segment->flags = (uint8_t)((segment->flags & ~SEGMENT_APP_LIMITED) | (sf->app_limited_until ? SEGMENT_APP_LIMITED : 0));
	if (unlikely(is_retransmission)) {
		if (segment->flags & SEGMENT_LOST) {
			segment->flags = (uint8_t)((segment->flags & ~SEGMENT_LOST) | SEGMENT_RETRANSMITTED);
			sf->lost--;
			sf->retransmitted++;
			if (sf->retransmission_tail - sf->retransmission_head <= sf->retransmission_mask)
				sf->retransmissions[sf->retransmission_tail++ & sf->retransmission_mask] =
				    (struct retransmission){ seq, sim->now_ns };
		}
		segment->flags |= SEGMENT_EVER_RETRANSMITTED;
		sf->retransmitted_bytes += segment->payload_bytes;
		if (sf->state == DRL_STATE_LOSS && sf->recovery_rto_ns == 0)
			sf->recovery_rto_ns = sim->now_ns;
	}
	if (unlikely(sf->state >= DRL_STATE_CWR))
		sf->prr_out++;
	if (unlikely(sf->pacing_bytes_per_s > 0)) {
		int64_t from_ns = sf->pace_next_ns > sim->now_ns ? sf->pace_next_ns : sim->now_ns;

		sf->pace_next_ns = from_ns + (int64_t)(packet.wire_bytes * (double)NS_PER_S / sf->pacing_bytes_per_s);
	}
	sf->sent_packets++;
	sf->sent_bytes += segment->payload_bytes;
	sim->sent_packets++;
	record(sf, is_retransmission ? CCDRL_RECORD_RETRANSMIT : CCDRL_RECORD_SEND, seq, segment->map);
	link_send(sim, sf->links[0], &packet);
}

void subflow_send_map(struct subflow *sf, uint32_t map_index)
{
	struct map *map = conn_map(sf->conn, map_index);
	struct segment *segment;
	uint32_t seq = sf->snd_nxt;
	bool was_idle = seq == sf->snd_una;

	if (unlikely(seq - sf->snd_una > sf->segment_mask) && !subflow_grow_segments(sf))
		return;
	segment = subflow_segment(sf, seq);
	segment->map = map_index;
	segment->payload_bytes = map->length_bytes;
	segment->flags = 0;
	map->references++;
	map->subflows |= (uint8_t)(1U << sf->index);
	sf->snd_nxt++;
	subflow_transmit(sf, seq, false);
	if (was_idle) {
		int64_t probe_ns, rto_ns;

		sf->restart_ns = sf->sim->now_ns;
		probe_ns = recovery_probe_ns(sf);
		rto_ns = recovery_timeout_ns(sf);
		subflow_timer_need(sf, probe_ns < rto_ns ? probe_ns : rto_ns);
	}
}

void subflow_packet_forward(struct ccdrl_sim *sim, const struct packet *packet)
{
	struct subflow *sf = packet->subflow;

	if (packet->hop + 1U < sf->n_links) {
		struct packet next = *packet;

		next.hop++;
		link_send(sim, sf->links[next.hop], &next);
	} else if (likely(sf->extra_delay_ns == 0)) {
		receiver_segment(sf, packet);
	} else if (packet_ring_reserve(sim, &sf->tail)) {
		struct packet *slot = &sf->tail.slots[sf->tail.tail & sf->tail.mask];

		*slot = *packet;
		slot->arrival_ns = sim->now_ns + sf->extra_delay_ns;
		if (sf->tail.tail++ == sf->tail.head)
			source_set(sim, sf->tail_source, slot->arrival_ns);
	}
}

void subflow_tail_fire(struct subflow *sf)
{
	struct packet_ring *ring = &sf->tail;

	while (ring->head != ring->tail && ring->slots[ring->head & ring->mask].arrival_ns <= sf->sim->now_ns) {
		struct packet packet = ring->slots[ring->head++ & ring->mask];

		receiver_segment(sf, &packet);
	}
	source_set(sf->sim, sf->tail_source,
	    ring->head != ring->tail ? ring->slots[ring->head & ring->mask].arrival_ns : TIME_NEVER);
}

void subflow_packet_dropped(struct ccdrl_sim *sim, const struct packet *packet)
{
	(void)sim;
	packet->subflow->dropped_packets++;
	record(packet->subflow, CCDRL_RECORD_DROP, packet->seq, UINT32_MAX);
}
