/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What sets the window and the pacing rate with each ACK. A controller with cong_control takes over all of it: rate
 * reduction in recovery, growth, pacing, the restart after idle time.
 */
#ifndef CCDRL_WINDOW_H
#define CCDRL_WINDOW_H

#include "ccdrl_bpf.h"
#include "ccdrl_lease.h"
#include "ccdrl_siblings.h"
#include "prr.h"

/* 34 Gbit/s. MPTCP's scheduler takes rates as 32 bits: with a rate of 2^32 it never chooses the subflow again. */
#define PACING_MAX_BYTES_PER_S 0xffffffffULL
#define RESTART_SEGMENTS 10	/* the initial window, RFC 6928 */
#define RTT_UNKNOWN_US 1000	/* as BBR has it */

/* prior_cwnd and prr_out are the kernel's own; prr_delivered is ours, as programs may not write the kernel's. */
static __always_inline __u32 prr_cwnd(const struct tcp_sock *tp, struct ccdrl_subflow *sf, const struct rate_sample *rs,
    int flag)
{
	struct prr_ack ack = {
		.inflight = inflight_packets(tp), .ssthresh = tp->snd_ssthresh, .prior_cwnd = tp->prior_cwnd,
		.prr_out = tp->prr_out, .delivered = rs->acked_sacked,
		.is_progress = (flag & FLAG_SND_UNA_ADVANCED) && rs->losses == 0,
	};

	if ((__s32)ack.delivered <= 0)
		return tp->snd_cwnd;
	sf->prr_delivered += ack.delivered;
	ack.prr_delivered = sf->prr_delivered;
	return prr_window(&ack);
}

/* tcp_is_cwnd_limited() */
static __always_inline bool is_cwnd_limited(const struct tcp_sock *tp)
{
	return BPF_CORE_READ_BITFIELD(tp, is_cwnd_limited) ||
	    (tp->snd_cwnd < tp->snd_ssthresh && tp->snd_cwnd < 2 * tp->max_packets_out);
}

static __always_inline __u32 fallback_cwnd(struct sock *sk, struct ccdrl_subflow *sf, __u32 acked)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	__u64 rest, segment_q8 = (__u64)mss_bytes(tp) << 8;
	__u32 cwnd = tp->snd_cwnd;
	struct ccdrl_self self;

	if (acked == 0 || !is_cwnd_limited(tp))
		return cwnd;
	if (cwnd < tp->snd_ssthresh)
		return min_u32(cwnd + acked, tp->snd_ssthresh);
	self_fill(&self, sk, sf);
	self.acked_bytes = saturate_u32((__u64)acked * self.mss_bytes);
	rest = sf->rest_q8 + connection_increase_q8(&self);
	cwnd += rest / segment_q8;
	sf->rest_q8 = rest % segment_q8;
	return cwnd;
}

/* `acked`: packets delivered by an ACK that acknowledged data in order. */
static __always_inline void window_update(struct sock *sk, struct ccdrl_subflow *sf, const struct rate_sample *rs,
    int flag)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 acked = (flag & FLAG_DATA_ACKED) ? rs->acked_sacked : 0, cwnd;

	if (sf->state == DRL_STATE_CWR || sf->state == DRL_STATE_RECOVERY) {
		cwnd = prr_cwnd(tp, sf, rs, flag);
	} else if (!is_in_lease(sf)) {
		cwnd = fallback_cwnd(sk, sf, acked);
	} else {
		cwnd = target_segments(tp, sf);
		if (sf->state == DRL_STATE_LOSS)	/* an RTO collapses the window: slow start up to the leased one */
			cwnd = min_u32(cwnd, tp->snd_cwnd + acked);
	}
	tp->snd_cwnd = max_u32(min_u32(cwnd, cwnd_max_segments(tp)), 1);
	tp->snd_cwnd_cnt = 0;
}

/*
 * The action's rate, else the rule of tcp_update_pacing_rate(), which without the fq qdisc only bounds the size of a burst: as a
 * plain socket's, unless its owner asked for a rate. An action may not pace below the lowest window a round
 * trip: the kernel computes the next departure from the rate, and one absurd rate would hold the subflow for long after
 * its lease. Nor above what the rest of the kernel can reckon with.
 */
static __always_inline void pacing_update(struct sock *sk, const struct ccdrl_subflow *sf)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	const struct net *net = sk->__sk_common.skc_net.net;
	__u64 srtt = tp->srtt_us >> 3, rate = sf->pacing_bytes_per_s, low, percent, high = sk->sk_max_pacing_rate;

	if (srtt == 0)
		srtt = RTT_UNKNOWN_US;
	low = mss_bytes(tp) * DRL_CWND_MIN_SEGMENTS * US_PER_S / srtt;
	if (rate == 0) {
		percent = tp->snd_cwnd < tp->snd_ssthresh / 2 ? net->ipv4.sysctl_tcp_pacing_ss_ratio
		    : net->ipv4.sysctl_tcp_pacing_ca_ratio;
		rate = (__u64)mss_bytes(tp) * max_u32(tp->snd_cwnd, tp->packets_out) * (US_PER_S / 100) * percent / srtt;
	} else if (rate < low) {
		rate = low;
	}
	if (sf->pacing_bytes_per_s != 0 && sk->sk_pacing_status == SK_PACING_NONE)
		sk->sk_pacing_status = SK_PACING_NEEDED;
	else if (sf->pacing_bytes_per_s == 0 && sk->sk_pacing_status == SK_PACING_NEEDED && high == ~0UL)
		sk->sk_pacing_status = SK_PACING_NONE;
	if (high > PACING_MAX_BYTES_PER_S)
		high = PACING_MAX_BYTES_PER_S;
	sk->sk_pacing_rate = rate < high ? rate : high;
}

/* The fallback halves its window for each RTO of idle time, as tcp_cwnd_restart() does (RFC 5681 section 4.1). */
static __always_inline void window_restart(struct sock *sk, struct ccdrl_subflow *sf)
{
	const struct inet_connection_sock *icsk = (const struct inet_connection_sock *)sk;
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__s32 idle = (__u32)bpf_jiffies64() - tp->lsndtime, rto = icsk->icsk_rto;
	__u32 cwnd = tp->snd_cwnd, low = min_u32(cwnd, RESTART_SEGMENTS);

	if (is_in_lease(sf) || tp->packets_out != 0 || rto <= 0 || idle <= rto ||
	    !sk->__sk_common.skc_net.net->ipv4.sysctl_tcp_slow_start_after_idle)
		return;
	if (tp->snd_ssthresh < SSTHRESH_INFINITE)
		tp->snd_ssthresh = max_u32(tp->snd_ssthresh, (cwnd >> 1) + (cwnd >> 2));
	cwnd >>= min_u32((__u32)idle / (__u32)rto, 31);
	tp->snd_cwnd = max_u32(cwnd, low);
	tp->snd_cwnd_stamp = (__u32)bpf_jiffies64();
	sf->rest_q8 = 0;
}

#endif /* CCDRL_WINDOW_H */
