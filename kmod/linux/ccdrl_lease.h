/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* From the controls map to a lease. Agents write that map as they like, so each word is copied once and then judged. */
#ifndef CCDRL_LEASE_H
#define CCDRL_LEASE_H

#include "ccdrl_bpf.h"

static __always_inline bool is_in_lease(const struct ccdrl_subflow *sf)
{
	return sf->lease_end_us != 0;
}

static __always_inline void lease_end(struct ccdrl_subflow *sf)
{
	sf->lease_end_us = 0;
	sf->pacing_bytes_per_s = 0;
}

/* Takes an action. Its window is bounded here, its pacing rate where it is used. */
static __always_inline void lease_begin(struct sock *sk, struct ccdrl_subflow *sf, struct ccdrl_state_slot *slot,
    const struct drl_cwnd_action *action, __u64 end_us)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u64 mss = mss_bytes(tp);
	__u32 low = DRL_CWND_MIN_SEGMENTS * mss, high = saturate_u32(cwnd_max_segments(tp) * mss);

	sf->target_bytes = max_u32(min_u32(action->cwnd_bytes, high), low);
	sf->lease_end_us = end_us;
	sf->pacing_bytes_per_s = action->pacing_rate_bytes_per_s;
	sf->rest_q8 = 0;
	slot->action_seq = action->seq;
	/* a reduction in progress heads for it, and slow start after an RTO ends there */
	tp->snd_ssthresh = target_segments(tp, sf);
	COUNT(taken);
	if (sf->target_bytes != action->cwnd_bytes)
		COUNT(clamped);
}

/* Looks at a new action once: lasting rubbish costs one look, not one an ACK. */
static __always_inline void lease_poll(struct sock *sk, struct ccdrl_subflow *sf, struct ccdrl_state_slot *slot,
    __u64 now)
{
	struct ccdrl_control_slot *control;
	struct drl_cwnd_action action;
	__u32 index = sf->slot, version;
	__u64 arrival;

	control = bpf_map_lookup_elem(&ccdrl_controls, &index);
	if (control == NULL || *(volatile __u32 *)&control->version == sf->control_version)
		return;
	version = __sync_fetch_and_add(&control->version, 0);	/* a full barrier, as the one below */
	if (version & 1)
		return;
	__builtin_memcpy(&action, &control->action, sizeof(action));
	arrival = *(volatile __u64 *)&control->arrival_us;
	asm volatile("" ::: "memory");
	if (__sync_fetch_and_add(&control->version, 0) != version)
		return;
	sf->control_version = version;

	if (action.subflow_id != sf->id) {
		COUNT(generation_mismatch);
		return;
	}
	if (action.abi != DRL_ABI_VERSION || action.reserved != 0 || action.cwnd_bytes == 0 || action.lease_us == 0 ||
	    action.lease_us > DRL_LEASE_MAX_US) {
		COUNT(malformed);
		return;
	}
	if (arrival > now)
		arrival = now;
	if (action.seq < slot->rto_seq || action.seq < slot->action_seq || action.seq > slot->sample.seq ||
	    arrival + action.lease_us <= now) {
		COUNT(stale);
		return;
	}
	lease_begin(sk, sf, slot, &action, arrival + action.lease_us);
}

/* Hand-over to the fallback: from the present window, but not above what was in the network. */
static __always_inline void lease_expire(struct sock *sk, struct ccdrl_subflow *sf, __u32 prior_inflight)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	lease_end(sf);
	sf->rest_q8 = 0;
	COUNT(expired);
	if (sf->state < DRL_STATE_CWR) {
		tp->snd_cwnd = min_u32(tp->snd_cwnd, max_u32(prior_inflight, DRL_CWND_MIN_SEGMENTS));
		tp->snd_ssthresh = tp->snd_cwnd;
	}
}

#endif /* CCDRL_LEASE_H */
