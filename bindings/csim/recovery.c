/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Loss detection and the response to it.
 *   detection   RACK (RFC 8985) on a path that does not reorder: with three SACKed segments, or in recovery, every older
 *               segment is lost; with fewer after a quarter of the min RTT. A retransmission is lost when something sent
 *               after it has been delivered. Tail loss probe (section 7), RTO (RFC 6298) with undo when spurious (RFC 4015).
 *   response    proportional rate reduction (RFC 9937) towards the controller's ssthresh; slow start from 1 after an RTO.
 * Scoreboard scans move forward only: every segment is judged once, so a loss episode costs a constant for each segment.
 */
#include "internal.h"

#define DUP_THRESHOLD 3
#define RTO_INITIAL_NS NS_PER_S		/* RFC 6298 section 2 */
#define DELAYED_ACK_MAX_NS (200 * NS_PER_MS)
#define REMOVE_RTOS 12			/* seeds: TCP_MAXRXTSHIFT; the subflow is reset */
#define REINJECT_RTOS (REMOVE_RTOS / 4)	/* data-level retransmission after a quarter of the allowed RTOs */

void recovery_state_set(struct subflow *sf, enum drl_state state)
{
	enum drl_state old = sf->state;

	if (old == state)
		return;
	sf->state = state;
	if (sf->cc->on_state != NULL)
		sf->cc->on_state(sf, old);
	if (sf->cc == &cc_drl)
		drl_subflow_touch(sf, DRL_EVENT_STATE);
}

void recovery_segment_delivered(struct subflow *sf, struct segment *segment, struct delivery *delivery)
{
	int64_t now_ns = sf->sim->now_ns;

	if (segment->flags & SEGMENT_LOST)
		sf->lost--;
	if (segment->flags & SEGMENT_RETRANSMITTED)
		sf->retransmitted--;
	segment->flags &= (uint8_t)~(SEGMENT_LOST | SEGMENT_RETRANSMITTED);
	delivery->segments++;
	sf->delivered_segments++;
	sf->delivered_ns = now_ns;
	sf->delivered_bytes += segment->payload_bytes;
	if (!delivery->has_rate || (int32_t)(segment->delivered_segments - delivery->prior_delivered) >= 0) {
		delivery->has_rate = true;
		delivery->prior_delivered = segment->delivered_segments;
		delivery->prior_ns = segment->delivered_ns;
		delivery->send_elapsed_ns = segment->sent_ns - segment->first_sent_ns;
		delivery->is_app_limited = (segment->flags & SEGMENT_APP_LIMITED) != 0;
		sf->first_sent_ns = segment->sent_ns;
	}
	if (!(segment->flags & SEGMENT_EVER_RETRANSMITTED)) {
		if (segment->sent_ns > delivery->newest_sent_ns)
			delivery->newest_sent_ns = segment->sent_ns;
		if (delivery->oldest_sent_ns < 0 || segment->sent_ns < delivery->oldest_sent_ns)
			delivery->oldest_sent_ns = segment->sent_ns;
	} else {
		delivery->is_ambiguous = true;
		if (now_ns - segment->sent_ns < sf->min_rtt_ns)
			return;		/* the ACK is for an earlier transmission (RFC 8985 section 6.2 step 2) */
	}
	if (segment->sent_ns > sf->newest_delivered_sent_ns)
		sf->newest_delivered_sent_ns = segment->sent_ns;
}

static void mark_lost(struct subflow *sf, struct segment *segment, uint32_t seq)
{
	if (segment->flags & SEGMENT_RETRANSMITTED) {
		segment->flags &= (uint8_t)~SEGMENT_RETRANSMITTED;
		sf->retransmitted--;
	}
	segment->flags |= SEGMENT_LOST;
	sf->lost++;
	sf->lost_bytes += segment->payload_bytes;
	if ((int32_t)(seq - sf->retransmit_scan) < 0)
		sf->retransmit_scan = seq;
}

uint32_t recovery_detect(struct subflow *sf)
{
	bool is_eager = sf->sacked >= DUP_THRESHOLD || sf->state >= DRL_STATE_RECOVERY;
	int64_t now_ns = sf->sim->now_ns;
	uint32_t found = 0;

	if (sf->sacked > 0) {
		while (sf->loss_scan != sf->snd_nxt && sf->sacked > sf->sacked_below_scan) {
			struct segment *segment = subflow_segment(sf, sf->loss_scan);

			if (segment->flags & SEGMENT_SACKED) {
				sf->sacked_below_scan++;
			} else if (!(segment->flags & (SEGMENT_LOST | SEGMENT_RETRANSMITTED))) {
				int64_t deadline_ns = segment->sent_ns + sf->srtt_ns + sf->min_rtt_ns / 4;

				if (!is_eager && now_ns < deadline_ns) {	/* reordering window */
					sf->reorder_deadline_ns = deadline_ns;
					subflow_timer_need(sf, deadline_ns);
					break;
				}
				mark_lost(sf, segment, sf->loss_scan);
				found++;
			}
			sf->loss_scan++;
		}
	}
	while (sf->retransmission_head != sf->retransmission_tail) {
		const struct retransmission *resent = &sf->retransmissions[sf->retransmission_head & sf->retransmission_mask];
		struct segment *segment = subflow_segment(sf, resent->seq);

		if ((int32_t)(resent->seq - sf->snd_una) >= 0 && segment->flags & SEGMENT_RETRANSMITTED &&
		    segment->sent_ns == resent->sent_ns) {
			if (resent->sent_ns >= sf->newest_delivered_sent_ns)
				break;
			mark_lost(sf, segment, resent->seq);
			found++;
		}
		sf->retransmission_head++;
	}
	return found;
}

/* Whole segments: the windows of kernels are, and a fraction that survived a reduction would be growth for nothing. */
static void ssthresh_ask(struct subflow *sf)
{
	double ssthresh = floor(sf->cc->ssthresh(sf));

	sf->ssthresh = ssthresh > 2 ? ssthresh : 2;
}

void recovery_enter(struct subflow *sf, enum drl_state state, uint32_t delivered)
{
	ssthresh_ask(sf);
	sf->high_seq = sf->snd_nxt;
	sf->prr_delivered = sf->prr_out = 0;
	sf->recover_flight = sf->snd_nxt - sf->snd_una - sf->sacked + delivered;	/* RFC 9937 section 5 */
	if (sf->recover_flight == 0)
		sf->recover_flight = 1;
	if (state == DRL_STATE_RECOVERY)
		sf->loss_events++;
	sf->is_undo_possible = false;
	recovery_state_set(sf, state);
}

void recovery_prr(struct subflow *sf, uint32_t delivered, bool is_advancing, uint32_t newly_lost)
{
	uint32_t inflight = subflow_inflight(sf);
	uint32_t ssthresh = (uint32_t)sf->ssthresh;
	int64_t room;

	sf->prr_delivered += delivered;
	if (inflight > ssthresh) {
		room = ((int64_t)sf->prr_delivered * ssthresh + sf->recover_flight - 1) / sf->recover_flight - sf->prr_out;
	} else {
		room = (int64_t)sf->prr_delivered - sf->prr_out;
		if (room < (int64_t)delivered)
			room = delivered;
		if (is_advancing && newly_lost == 0)
			room++;			/* slow start bound of PRR-SSRB */
		if (room > (int64_t)ssthresh - inflight)
			room = (int64_t)ssthresh - inflight;
	}
	if (sf->state == DRL_STATE_RECOVERY && sf->prr_out == 0 && room < 1)
		room = 1;			/* the fast retransmit itself */
	sf->cwnd = inflight + (room > 0 ? (double)room : 0.0);
}

bool recovery_retransmit_next(struct subflow *sf)
{
	if (sf->lost == 0)
		return false;
	while (!(subflow_segment(sf, sf->retransmit_scan)->flags & SEGMENT_LOST))
		sf->retransmit_scan++;
	subflow_transmit(sf, sf->retransmit_scan, true);
	return true;
}

int64_t recovery_timeout_ns(const struct subflow *sf)
{
	int64_t rto_ns = sf->rto_ns ? sf->rto_ns : RTO_INITIAL_NS;

	for (uint32_t i = 0; i < sf->backoff && rto_ns < RTO_MAX_NS; i++)
		rto_ns *= 2;			/* RFC 6298 (5.5) */
	return sf->restart_ns + (rto_ns < RTO_MAX_NS ? rto_ns : RTO_MAX_NS);
}

int64_t recovery_probe_ns(const struct subflow *sf)
{
	int64_t pto_ns;

	if (sf->state != DRL_STATE_OPEN || sf->srtt_ns == 0 || sf->is_tlp_outstanding || sf->backoff > 0)
		return TIME_NEVER;
	pto_ns = 2 * sf->srtt_ns;
	if (sf->snd_nxt - sf->snd_una == 1)
		pto_ns += DELAYED_ACK_MAX_NS;	/* RFC 8985 section 7.2: the lone segment's ACK may be delayed */
	return sf->restart_ns + pto_ns;
}

void recovery_probe(struct subflow *sf)
{
	sf->is_tlp_outstanding = true;
	sf->tlp_end_seq = sf->snd_nxt;
	sf->restart_ns = sf->sim->now_ns;
	subflow_transmit(sf, sf->snd_nxt - 1, true);
}

void recovery_timeout(struct subflow *sf)
{
	struct ccdrl_sim *sim = sf->sim;
	bool is_first = sf->state != DRL_STATE_LOSS || sf->backoff == 0;

	sf->rto_events++;
	subflow_cwnd_account(sf);
	if (is_first && sf->state < DRL_STATE_LOSS) {
		sf->undo_cwnd = sf->state >= DRL_STATE_CWR ? sf->ssthresh : sf->cwnd;
		sf->undo_ssthresh = sf->ssthresh;
		sf->is_undo_possible = true;
		sf->recovery_rto_ns = 0;
	}
	if (is_first) {				/* RFC 5681 (4): once for each timed-out segment */
		if (sf->cc == &cc_drl)
			drl_timeout(sf);
		ssthresh_ask(sf);
	}
	sf->cwnd = 1;
	sf->high_seq = sf->snd_nxt;
	for (uint32_t seq = sf->snd_una; seq != sf->snd_nxt; seq++) {
		struct segment *segment = subflow_segment(sf, seq);

		if (!(segment->flags & (SEGMENT_SACKED | SEGMENT_LOST)))
			mark_lost(sf, segment, seq);
	}
	sf->loss_scan = sf->snd_nxt;
	sf->sacked_below_scan = sf->sacked;
	sf->retransmission_head = sf->retransmission_tail;
	sf->retransmit_scan = sf->snd_una;
	sf->is_tlp_outstanding = false;
	sf->backoff++;
	sf->restart_ns = sim->now_ns;
	sf->pace_next_ns = sim->now_ns;
	recovery_state_set(sf, DRL_STATE_LOSS);
	if (sf->cc == &cc_drl)
		sf->u.drl.rto_seq = ++sf->u.drl.seq;
	record(sf, CCDRL_RECORD_RTO, sf->snd_una, UINT32_MAX);
	if (sf->backoff >= REMOVE_RTOS) {
		subflow_close(sf);
		subflow_rejoin(sf);
		return;
	}
	recovery_retransmit_next(sf);
	if (sf->backoff >= REINJECT_RTOS) {
		sf->is_failed = true;
		conn_reinject(sf->conn, sf);
	}
}

/* The Eifel test: the ACK was triggered by a segment sent before the RTO's retransmission, so nothing was lost. */
bool recovery_undo(struct subflow *sf, const struct ack *ack)
{
	if (!sf->is_undo_possible || sf->recovery_rto_ns == 0 || ack->echo_sent_ns >= sf->recovery_rto_ns)
		return false;
	for (uint32_t seq = sf->snd_una; seq != sf->snd_nxt; seq++) {
		struct segment *segment = subflow_segment(sf, seq);

		if (segment->flags & SEGMENT_LOST) {
			segment->flags &= (uint8_t)~SEGMENT_LOST;
			sf->lost--;
		}
	}
	subflow_cwnd_account(sf);
	sf->loss_scan = sf->snd_una;
	sf->sacked_below_scan = 0;
	sf->cwnd = sf->undo_cwnd;
	sf->ssthresh = sf->undo_ssthresh;
	sf->is_undo_possible = false;
	recovery_state_set(sf, DRL_STATE_OPEN);
	if (sf->cc->on_undo != NULL)
		sf->cc->on_undo(sf);
	return true;
}
