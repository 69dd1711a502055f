/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * From a tcpcb to a record of the ABI. Where the stack counts nothing itself, the record counts from one callback to
 * the next; sequence numbers may wrap between them, as no two are 2^31 bytes apart.
 *
 * The default stack measures RTTs in ticks (kern.hz); microseconds come from the fractions of its smoothed values.
 */
#include "ccdrl_var.h"

#define	CCDRL_MIN_RTT_HALF_US	(150 * CCDRL_US_PER_S)	/* min RTT looks back over one to two of these */

uint64_t
ccdrl_now_us(void)
{
	struct bintime now;

	binuptime(&now);
	return (now.sec * CCDRL_US_PER_S + (CCDRL_US_PER_S * (uint32_t)(now.frac >> 32) >> 32));
}

static uint32_t
saturate_u32(uint64_t value)
{

	return (value < UINT32_MAX ? (uint32_t)value : UINT32_MAX);
}

/* t_srtt or t_rttvar, whose fractions have `shift` bits. */
static uint32_t
rtt_to_us(const struct tcpcb *tp, int value, int shift)
{

	if (value <= 0)
		return (0);
	if (ccdrl_has_usec_timers(tp))
		return (value);
	return (MAX(saturate_u32((uint64_t)value * tick >> shift), 1));
}

/* Takes over what the stack counted before the record began. */
void
ccdrl_sample_begin(struct ccdrl_subflow *sf, struct tcpcb *tp)
{

	sf->snd_max = tp->snd_max;
	sf->sent_base = tp->t_sndbytes + tp->t_snd_rxt_bytes;
	if (SEQ_GT(tp->snd_max, tp->snd_una))
		sf->new_bytes = tp->snd_max - tp->snd_una;	/* in the network, still to be acknowledged */
	sf->sent_base -= MIN(sf->new_bytes, sf->sent_base);
	sf->srtt_raw = tp->t_srtt;
	sf->min_rtt_us[0] = sf->min_rtt_us[1] = UINT32_MAX;
}

/*
 * Congestion state (RFC 5681, RFC 3168 section 6.1.2). The stack has none after an RTO: it lasts until everything that
 * was out then is acknowledged.
 */
uint16_t
ccdrl_state(const struct ccdrl_subflow *sf, const struct tcpcb *tp)
{

	if (IN_FASTRECOVERY(tp->t_flags))
		return (DRL_STATE_RECOVERY);
	if (sf->is_in_loss)
		return (DRL_STATE_LOSS);
	if (IN_CONGRECOVERY(tp->t_flags))
		return (DRL_STATE_CWR);
	if (tp->t_dupacks > 0 || tp->sackhint.sacked_bytes > 0)
		return (DRL_STATE_DISORDER);
	return (DRL_STATE_OPEN);
}

/* The pipe of RFC 6675. After an RTO the stack goes back to snd_una: what it has not sent again is lost. */
uint32_t
ccdrl_inflight(const struct ccdrl_subflow *sf, const struct tcpcb *tp, tcp_seq una)
{
	int64_t pipe;

	if (sf->is_in_loss && SEQ_LT(tp->snd_nxt, tp->snd_max))
		return (SEQ_GT(tp->snd_nxt, una) ? tp->snd_nxt - una : 0);
	if (SEQ_LEQ(tp->snd_max, una))
		return (0);
	pipe = (int64_t)(tcp_seq)(tp->snd_max - una) - tp->sackhint.sacked_bytes + tp->sackhint.sack_bytes_rexmit;
	return (pipe > 0 ? saturate_u32(pipe) : 0);
}

/*
 * The stack counts all payload it sends, but retransmissions out of the SACK scoreboard as new: what went beyond
 * snd_max was new, the rest was sent again. It sends again what it takes for lost.
 */
static void
counters_advance(struct ccdrl_subflow *sf, const struct tcpcb *tp)
{
	struct drl_subflow_sample *sample = &sf->sample;
	uint64_t sent = tp->t_sndbytes + tp->t_snd_rxt_bytes - sf->sent_base, delivered = sf->acked_bytes;

	if (SEQ_GT(tp->snd_max, sf->snd_max)) {
		sf->new_bytes += tp->snd_max - sf->snd_max;
		sf->snd_max = tp->snd_max;
	}
	if (sent > sf->new_bytes)
		sample->retransmitted_bytes = MAX(sample->retransmitted_bytes, sent - sf->new_bytes);
	sample->lost_bytes = sample->retransmitted_bytes;
	sample->sent_bytes = MAX(sample->sent_bytes, sf->new_bytes + sample->retransmitted_bytes);
	if (tp->sackhint.sacked_bytes > 0)
		delivered += tp->sackhint.sacked_bytes;
	sample->delivered_bytes = MAX(sample->delivered_bytes, delivered);
	sample->sent_bytes = MAX(sample->sent_bytes, sample->delivered_bytes);
}

/* What held the sender back, as its flight before the ACK shows. */
static void
limits_note(struct ccdrl_subflow *sf, const struct tcpcb *tp)
{
	uint32_t mss = ccdrl_mss(tp), flight = SEQ_GT(tp->snd_max, tp->snd_una) ? tp->snd_max - tp->snd_una : 0;
	uint64_t wanted = (uint64_t)flight + mss;

	if (wanted > tp->snd_cwnd)
		sf->sample.flags |= DRL_FLAG_CWND_LIMITED;
	else if (wanted > tp->snd_wnd)
		sf->sample.flags |= DRL_FLAG_RWND_LIMITED;
	else
		sf->is_round_app_limited = true;
}

/* Counts an ACK for `bytes` in order; returns what it delivered beyond what SACK had told before. */
uint32_t
ccdrl_sample_acked(struct ccdrl_subflow *sf, const struct tcpcb *tp, uint32_t bytes)
{
	uint64_t delivered = sf->sample.delivered_bytes;

	limits_note(sf, tp);
	sf->acked_bytes += bytes;
	counters_advance(sf, tp);
	sf->sample.srtt_us = rtt_to_us(tp, tp->t_srtt, TCP_RTT_SHIFT);	/* the fallback goes by it */
	return (saturate_u32(sf->sample.delivered_bytes - delivered));
}

void
ccdrl_sample_rtt(struct ccdrl_subflow *sf, uint32_t rtt_us, uint64_t now_us)
{

	if (now_us >= sf->min_rtt_until_us) {
		sf->min_rtt_us[1] = now_us < sf->min_rtt_until_us + CCDRL_MIN_RTT_HALF_US ? sf->min_rtt_us[0] : UINT32_MAX;
		sf->min_rtt_us[0] = UINT32_MAX;
		sf->min_rtt_until_us = now_us + CCDRL_MIN_RTT_HALF_US;
	}
	sf->sample.last_rtt_us = rtt_us;
	sf->min_rtt_us[0] = MIN(sf->min_rtt_us[0], rtt_us);
}

/*
 * The default stack shows its samples to nobody, but t_srtt moves by an eighth of the difference: the sample, in whole
 * ticks, can be had from two values of t_srtt (tcp_xmit_timer()). Below one tick the smoothed value knows better.
 */
static void
rtt_recover(struct ccdrl_subflow *sf, const struct tcpcb *tp, uint64_t now_us)
{
	int64_t before = sf->srtt_raw, after = tp->t_srtt, sample_ticks;
	uint32_t srtt_us = rtt_to_us(tp, tp->t_srtt, TCP_RTT_SHIFT);

	if (after == before || after <= 0)
		return;
	sf->srtt_raw = tp->t_srtt;
	if (sf->has_rtt_hook)
		return;
	if (before <= 0 || ccdrl_has_usec_timers(tp)) {
		ccdrl_sample_rtt(sf, srtt_us, now_us);
		return;
	}
	sample_ticks = (after - before + (before >> 3)) >> 2;
	if (sample_ticks > 0)
		ccdrl_sample_rtt(sf, saturate_u32((uint64_t)sample_ticks * tick), now_us);
	else
		ccdrl_sample_rtt(sf, MIN(srtt_us, (uint32_t)tick), now_us);
}

/*
 * Bytes delivered in a round trip over its time (draft-cheng-iccrg-delivery-rate-estimation): a round is over when data
 * that was sent after its start is acknowledged, or when the stack says so.
 */
static void
rate_measure(struct ccdrl_subflow *sf, tcp_seq una, uint64_t now_us)
{
	struct drl_subflow_sample *sample = &sf->sample;
	uint64_t bytes = sample->delivered_bytes - sf->round_delivered, us = now_us - sf->round_us;

	if (sf->has_round && !sf->is_round_over && SEQ_LEQ(una, sf->round_end))
		return;
	if (sf->has_round && now_us > sf->round_us && bytes > 0) {
		sample->delivery_rate_bytes_per_s = MIN(bytes, UINT64_MAX / CCDRL_US_PER_S) * CCDRL_US_PER_S / us;
		sample->flags &= ~DRL_FLAG_APP_LIMITED;
		if (sf->is_round_app_limited)
			sample->flags |= DRL_FLAG_APP_LIMITED;
	}
	sf->has_round = true;
	sf->is_round_over = false;
	sf->is_round_app_limited = una == sf->snd_max;	/* nothing in the network: perhaps nothing to send */
	sf->round_end = sf->snd_max;
	sf->round_us = now_us;
	sf->round_delivered = sample->delivered_bytes;
}

/* Writes the tcpcb's state into the record; `una` is what the segment under way acknowledges. */
void
ccdrl_sample_write(struct ccdrl_subflow *sf, struct tcpcb *tp, tcp_seq una, uint64_t now_us)
{
	struct drl_subflow_sample *sample = &sf->sample;
	uint32_t min_rtt_us;

	counters_advance(sf, tp);
	rtt_recover(sf, tp, now_us);
	rate_measure(sf, una, now_us);
	sample->timestamp_us = now_us;
	sample->conn_id = sample->conn_id != 0 ? sample->conn_id : ccdrl_conn_id(tp);
	sample->mss_bytes = ccdrl_mss(tp);
	sample->cwnd_bytes = tp->snd_cwnd;
	sample->ssthresh_bytes = tp->snd_ssthresh < CCDRL_SSTHRESH_UNSET ? tp->snd_ssthresh : UINT32_MAX;
	sample->inflight_bytes = ccdrl_inflight(sf, tp, una);
	sample->srtt_us = rtt_to_us(tp, tp->t_srtt, TCP_RTT_SHIFT);
	sample->rttvar_us = sample->srtt_us != 0 ? rtt_to_us(tp, tp->t_rttvar, TCP_RTTVAR_SHIFT) : 0;
	if (sample->srtt_us != 0 && sample->last_rtt_us == 0)
		sample->last_rtt_us = sample->srtt_us;
	min_rtt_us = MIN(sf->min_rtt_us[0], sf->min_rtt_us[1]);
	sample->min_rtt_us = MIN(min_rtt_us, sample->srtt_us);
	sample->rwnd_bytes = SEQ_GT(una + tp->snd_wnd, tp->snd_max) ? una + tp->snd_wnd - tp->snd_max : 0;
	sample->state = ccdrl_state(sf, tp);
}
