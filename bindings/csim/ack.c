/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the sender does with an ACK: scoreboard, RTT and rate samples, loss detection, the controller, then more data.
 */
#include "internal.h"

/* Segments that this block reports and none of the last ACK's blocks did; blocks grow by a segment, so this is short. */
static void sack_range(struct subflow *sf, uint32_t start, uint32_t end, struct delivery *delivery)
{
	if ((int32_t)(start - sf->snd_una) < 0)
		start = sf->snd_una;
	for (uint32_t seq = start; (int32_t)(end - seq) > 0; seq++) {
		struct segment *segment = subflow_segment(sf, seq);

		if (segment->flags & SEGMENT_SACKED)
			continue;
		recovery_segment_delivered(sf, segment, delivery);
		segment->flags |= SEGMENT_SACKED;
		sf->sacked++;
		if ((int32_t)(seq - sf->loss_scan) < 0)
			sf->sacked_below_scan++;
	}
}

static void sack_blocks(struct subflow *sf, const struct ack *ack, struct delivery *delivery)
{
	for (uint32_t i = 0; i < ack->n_blocks; i++) {
		uint32_t start = ack->blocks[i].start, end = ack->blocks[i].end;

		for (uint32_t j = 0; j < 3; j++) {	/* cut what is known off either end */
			const struct sack_block *seen = &sf->seen_blocks[j];

			if ((int32_t)(seen->start - start) <= 0 && (int32_t)(seen->end - start) > 0)
				start = seen->end;
			if ((int32_t)(seen->end - end) >= 0 && (int32_t)(end - seen->start) > 0)
				end = seen->start;
		}
		if ((int32_t)(end - start) > 0)
			sack_range(sf, start, end, delivery);
	}
	for (uint32_t i = 0; i < 3; i++)
		sf->seen_blocks[i] = i < ack->n_blocks ? ack->blocks[i] : (struct sack_block){ sf->snd_una, sf->snd_una };
}

static void cumulative_ack(struct subflow *sf, uint32_t cumulative, struct delivery *delivery)
{
	struct conn *conn = sf->conn;

	while (sf->snd_una != cumulative) {
		uint32_t seq = sf->snd_una;
		struct segment *segment = subflow_segment(sf, seq);

		if (unlikely(segment->flags & SEGMENT_SACKED)) {
			sf->sacked--;
			if ((int32_t)(seq - sf->loss_scan) < 0)
				sf->sacked_below_scan--;
		} else {
			recovery_segment_delivered(sf, segment, delivery);
		}
		conn_map(conn, segment->map)->references--;	/* deferred drop: conn_data_ack */
		sf->snd_una++;
	}
	if ((int32_t)(sf->loss_scan - sf->snd_una) < 0)
		sf->loss_scan = sf->snd_una;
	if ((int32_t)(sf->retransmit_scan - sf->snd_una) < 0)
		sf->retransmit_scan = sf->snd_una;
}

static void rate_sample(struct subflow *sf, const struct delivery *delivery, struct ack_info *info)
{
	int64_t ack_elapsed_ns = info->now_ns - delivery->prior_ns;
	int64_t interval_ns = ack_elapsed_ns > delivery->send_elapsed_ns ? ack_elapsed_ns : delivery->send_elapsed_ns;

	if (sf->app_limited_until != 0 && sf->delivered_segments > sf->app_limited_until)
		sf->app_limited_until = 0;
	info->is_rate_app_limited = delivery->is_app_limited;
	info->rate_delivered = (uint32_t)sf->delivered_segments - delivery->prior_delivered;
	info->rate_prior_delivered = sf->delivered_segments - info->rate_delivered;
	if (interval_ns < sf->min_rtt_ns || interval_ns <= 0)
		return;		/* too short to be true: ACK compression, or retransmitted data */
	info->rate_interval_ns = interval_ns;
	sf->rate_delivered = info->rate_delivered;
	sf->rate_interval_ns = interval_ns;
}

static void state_advance(struct subflow *sf, const struct ack_info *info, bool is_advancing)
{
	if (sf->state >= DRL_STATE_CWR && (int32_t)(sf->snd_una - sf->high_seq) >= 0) {
		if (sf->state != DRL_STATE_LOSS && !sf->cc->owns_recovery)
			sf->cwnd = sf->ssthresh;	/* RFC 9937: end of recovery */
		recovery_state_set(sf, DRL_STATE_OPEN);
	}
	if (sf->state < DRL_STATE_RECOVERY && sf->lost > 0)
		recovery_enter(sf, DRL_STATE_RECOVERY, info->delivered_segments);
	else if (sf->state < DRL_STATE_CWR && info->is_ece)
		recovery_enter(sf, DRL_STATE_CWR, info->delivered_segments);
	else if (sf->state == DRL_STATE_OPEN && sf->sacked > 0)
		recovery_state_set(sf, DRL_STATE_DISORDER);
	else if (sf->state == DRL_STATE_DISORDER && sf->sacked == 0)
		recovery_state_set(sf, DRL_STATE_OPEN);
	if ((sf->state == DRL_STATE_RECOVERY || sf->state == DRL_STATE_CWR) && !sf->cc->owns_recovery)
		recovery_prr(sf, info->delivered_segments, is_advancing, info->lost_segments);
}

static void ack_process(struct subflow *sf, const struct ack *ack)
{
	struct ccdrl_sim *sim = sf->sim;
	struct conn *conn = sf->conn;
	struct delivery delivery = { .oldest_sent_ns = -1, .newest_sent_ns = -1 };
	struct ack_info info = { .now_ns = sim->now_ns, .rtt_ns = -1 };
	uint32_t prior_una = sf->snd_una;
	bool is_advancing;

	subflow_cwnd_account(sf);
	info.prior_inflight_segments = subflow_inflight(sf);
	info.is_cwnd_limited = conn->is_backlogged && info.prior_inflight_segments + 1 > (uint32_t)sf->cwnd;
	info.is_ece = ack->is_ece;
	sf->ecn_marks += ack->is_ece;
	if ((int32_t)(ack->cumulative - sf->snd_una) > 0)
		cumulative_ack(sf, ack->cumulative, &delivery);
	if (unlikely(ack->n_blocks > 0))
		sack_blocks(sf, ack, &delivery);
	is_advancing = sf->snd_una != prior_una;
	info.delivered_segments = delivery.segments;
	info.acked_segments = is_advancing ? delivery.segments : 0;
	/* Segments that a retransmission uncovers may have arrived long ago, when their ACKs were lost: with retransmitted data
	   in it only the ACK's timestamp echo tells an RTT (RFC 7323 section 4.1). */
	if (likely(!delivery.is_ambiguous) && delivery.newest_sent_ns >= 0) {
		info.rtt_ns = sim->now_ns - delivery.newest_sent_ns;
		subflow_rtt_sample(sf, sim->now_ns - delivery.oldest_sent_ns, info.rtt_ns);
	} else if (delivery.is_ambiguous && is_advancing) {
		info.rtt_ns = sim->now_ns - ack->echo_sent_ns;
		subflow_rtt_sample(sf, info.rtt_ns, info.rtt_ns);
	}
	if (delivery.segments > 0) {
		rate_sample(sf, &delivery, &info);
		if (is_advancing) {
			sf->restart_ns = sim->now_ns;	/* RFC 6298 (5.3) */
			if (unlikely(sf->backoff > 0)) {
				sf->backoff = 0;
				sf->is_failed = false;
			}
		}
		if (sf->is_tlp_outstanding && (int32_t)(sf->snd_una - sf->tlp_end_seq) >= 0)
			sf->is_tlp_outstanding = false;
	}
	conn_data_ack(conn, ack);
	if (unlikely(sf->state == DRL_STATE_LOSS) && is_advancing)
		recovery_undo(sf, ack);
	if (unlikely(sf->sacked > 0 || sf->retransmission_head != sf->retransmission_tail))
		info.lost_segments = recovery_detect(sf);
	if (unlikely(sf->state != DRL_STATE_OPEN || sf->sacked > 0 || sf->lost > 0 || info.is_ece))
		state_advance(sf, &info, is_advancing);
	sf->cc->on_ack(sf, &info);
	if (sf->snd_una != sf->snd_nxt && unlikely(sf->timer_set_ns > sim->now_ns + 2 * sf->srtt_ns)) {
		int64_t probe_ns = recovery_probe_ns(sf), rto_ns = recovery_timeout_ns(sf);

		subflow_timer_need(sf, probe_ns < rto_ns ? probe_ns : rto_ns);
	}
	if (sf->cc == &cc_drl)
		drl_subflow_touch(sf, DRL_EVENT_SAMPLE);
}

void subflow_acks_fire(struct subflow *sf)
{
	struct ccdrl_sim *sim = sf->sim;
	struct ack_ring *ring = &sf->acks;

	while (ring->head != ring->tail) {
		struct ack ack = ring->slots[ring->head & ring->mask];

		if (ack.arrival_ns > sim->now_ns)
			break;
		ring->head++;
		if (sf->is_closed || !sf->is_established)
			continue;
		ack_process(sf, &ack);
		record(sf, CCDRL_RECORD_ACK, ack.cumulative, ack.data_ack);
		conn_push(sf->conn);
	}
	source_set(sim, sf->acks_source, ring->head != ring->tail ? ring->slots[ring->head & ring->mask].arrival_ns : TIME_NEVER);
}
