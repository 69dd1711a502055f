/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Changes of the congestion state: those that the kernel tells, and those that it did not. */
#ifndef CCDRL_STATE_H
#define CCDRL_STATE_H

#include "ccdrl_bpf.h"
#include "ccdrl_lease.h"
#include "ccdrl_sample.h"
#include "ccdrl_siblings.h"
#include "missed.h"

/* The window at both ends of a reduction, as the kernel sets it for controllers without cong_control. */
static __always_inline void reduction_step(struct sock *sk, const struct ccdrl_subflow *sf, __u8 new_state)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	bool was_reducing = sf->state == DRL_STATE_CWR || sf->state == DRL_STATE_RECOVERY;

	/* entered from RACK's timer, no ACK follows before the retransmissions: one segment, then PRR */
	if (new_state == DRL_STATE_RECOVERY && sf->state < DRL_STATE_CWR)
		tp->snd_cwnd = inflight_packets(tp) + 1;
	/* tcp_end_cwnd_reduction(): unless it was undone */
	if (was_reducing && new_state < DRL_STATE_CWR && tp->snd_ssthresh < SSTHRESH_INFINITE &&
	    (sf->state == DRL_STATE_CWR || tp->undo_marker != 0))
		tp->snd_cwnd = min_u32(tp->snd_ssthresh, cwnd_max_segments(tp));
}

/* A change of the congestion state. */
static __always_inline void state_follow(struct sock *sk, struct ccdrl_subflow *sf, __u8 new_state)
{
	struct ccdrl_state_slot *slot;
	__u8 old_state = sf->state;

	reduction_step(sk, sf, new_state);
	sf->state = new_state;
	if (new_state == DRL_STATE_LOSS) {
		COUNT(timeouts);
		lease_end(sf);
		sf->rest_q8 = 0;
	}
	connection_publish(sk, sf);
	slot = state_slot_get(sf);
	if (slot == NULL)
		return;
	slot_write_begin(slot);
	slot->state_changes += new_state != old_state;
	slot->sample.loss_events += new_state == DRL_STATE_RECOVERY && old_state != DRL_STATE_RECOVERY;
	if (new_state == DRL_STATE_LOSS) {
		slot->sample.rto_events++;
		slot->rto_seq = slot->sample.seq + 1;	/* the record written here */
	}
	sample_write(sk, sf, slot, DRL_EVENT_STATE);
	slot_write_end(slot, sf->slot);
}

/* What a reduction from a window heads for. */
static __always_inline __u32 reduced_segments(struct sock *sk, const struct ccdrl_subflow *sf, __u32 cwnd_segments)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	__u32 mss = mss_bytes(tp);

	if (is_in_lease(sf) && now_us() < sf->lease_end_us)
		return target_segments(tp, sf);
	return ccdrl_fallback_ssthresh(saturate_u32((__u64)cwnd_segments * mss), mss) / mss;
}

/* Begins each callback but init and release: puts right what callbacks that did not come may have spoiled (missed.h). */
static __always_inline void subflow_catch_up(struct sock *sk, struct ccdrl_subflow *sf)
{
	const struct inet_connection_sock *icsk = (const struct inet_connection_sock *)sk;
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u8 state = BPF_CORE_READ_BITFIELD(icsk, icsk_ca_state);
	struct missed_window window = {
		.cwnd = tp->snd_cwnd, .ssthresh = tp->snd_ssthresh, .prior_cwnd = tp->prior_cwnd,
		.seen_cwnd = sf->seen_cwnd, .delivered = tp->delivered - sf->seen_delivered,
		.is_entry_missed = state >= DRL_STATE_CWR && sf->state < DRL_STATE_CWR,
	};

	if (window.is_entry_missed) {
		window.wanted_ssthresh = reduced_segments(sk, sf, tp->prior_cwnd);
		sf->prr_delivered = 0;
	}
	if (missed_repair(&window)) {
		COUNT(repaired);
		tp->snd_cwnd = window.cwnd;
		tp->snd_ssthresh = window.ssthresh;
	}
	if (state != sf->state)
		state_follow(sk, sf, state);
}

/* Ends each callback that leaves a window. */
static __always_inline void subflow_remember(const struct sock *sk, struct ccdrl_subflow *sf)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;

	sf->seen_cwnd = tp->snd_cwnd;
	sf->seen_delivered = tp->delivered;
}

#endif /* CCDRL_STATE_H */
