/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* From a socket to its record in the states map: Linux's packets become bytes here and nowhere else. */
#ifndef CCDRL_SAMPLE_H
#define CCDRL_SAMPLE_H

#include "ccdrl_bpf.h"

#define FAMILY_IPV4 2
#define FAMILY_IPV6 10

/*
 * Seqlock. A slot has one writer, the owner of its subflow's socket lock. Exchanges are full barriers in BPF's memory
 * model; plain atomic additions are not.
 */
static __always_inline void slot_write_begin(struct ccdrl_state_slot *slot)
{
	__sync_lock_test_and_set(&slot->lock, slot->lock + 1);
}

static __always_inline void slot_write_end(struct ccdrl_state_slot *slot, __u32 index)
{
	__u64 *changes;

	__sync_lock_test_and_set(&slot->lock, slot->lock + 1);
	changes = bpf_map_lookup_elem(&ccdrl_changes, &index);
	if (changes != NULL)
		*(volatile __u64 *)changes = *changes + 1;
}

/* A v4-mapped IPv6 socket speaks IPv4, and is shown so. */
static __always_inline void sample_addresses_fill(struct drl_subflow_sample *sample, struct sock *sk)
{
	const struct in6_addr *local = &sk->__sk_common.skc_v6_rcv_saddr, *foreign = &sk->__sk_common.skc_v6_daddr;
	__u32 *to_local = (__u32 *)sample->local_addr, *to_foreign = (__u32 *)sample->foreign_addr;
	bool is_mapped;

	sample->local_port = sk->__sk_common.skc_num;
	sample->foreign_port = bpf_ntohs(sk->__sk_common.skc_dport);
	sample->family = sk->__sk_common.skc_family;
	for (__u32 i = 0; i < 4; i++)
		to_local[i] = to_foreign[i] = 0;
	is_mapped = foreign->in6_u.u6_addr32[0] == 0 && foreign->in6_u.u6_addr32[1] == 0 &&
	    foreign->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
	if (sample->family == FAMILY_IPV6 && !is_mapped) {
		for (__u32 i = 0; i < 4; i++) {
			to_local[i] = local->in6_u.u6_addr32[i];
			to_foreign[i] = foreign->in6_u.u6_addr32[i];
		}
	} else {
		sample->family = FAMILY_IPV4;
		to_local[0] = sk->__sk_common.skc_rcv_saddr;
		to_foreign[0] = sk->__sk_common.skc_daddr;
	}
}

/* What the kernel counts itself started with the connection, which may be older than its controller. */
static __always_inline void sample_counters_fill(struct ccdrl_state_slot *slot, const struct tcp_sock *tp)
{
	struct drl_subflow_sample *sample = &slot->sample;
	__u64 mss = mss_bytes(tp), delivered = tp->bytes_acked + tp->sacked_out * mss;

	delivered -= delivered > 0;	/* the SYN */
	sample->sent_bytes = tp->bytes_sent;
	sample->retransmitted_bytes = tp->bytes_retrans;
	/* SACKed packets count as full ones, a FIN as a byte: so bounded by what was sent, and never falling */
	if (delivered > tp->bytes_sent)
		delivered = tp->bytes_sent;
	if (delivered > sample->delivered_bytes)
		sample->delivered_bytes = delivered;
	sample->lost_bytes += (__u32)(tp->lost - slot->lost_packets) * mss;
	slot->lost_packets = tp->lost;
	sample->delivery_rate_bytes_per_s = 0;
	if (tp->rate_interval_us > 0)
		sample->delivery_rate_bytes_per_s = tp->rate_delivered * mss * US_PER_S / tp->rate_interval_us;
}

static __always_inline void sample_window_fill(struct drl_subflow_sample *sample, const struct tcp_sock *tp,
    const struct ccdrl_subflow *sf)
{
	__u64 mss = mss_bytes(tp);
	__u32 room = tp->snd_una + tp->snd_wnd - tp->snd_nxt;

	sample->mss_bytes = mss;
	sample->inflight_bytes = saturate_u32(inflight_packets(tp) * mss);
	sample->rwnd_bytes = (__s32)room > 0 ? room : 0;
	sample->ssthresh_bytes = tp->snd_ssthresh >= SSTHRESH_INFINITE ? 0xffffffffU : saturate_u32(tp->snd_ssthresh * mss);
	/* With its fraction of a segment, as steps of a few per cent would be lost in small windows. */
	if (sf->lease_end_us != 0 && sf->state < DRL_STATE_CWR && tp->snd_cwnd == sf->target_bytes / mss)
		sample->cwnd_bytes = sf->target_bytes;
	else
		sample->cwnd_bytes = saturate_u32(tp->snd_cwnd * mss + (sf->rest_q8 >> 8));
}

/* Writes the subflow's state as its next record. */
static __always_inline void sample_write(struct sock *sk, const struct ccdrl_subflow *sf, struct ccdrl_state_slot *slot,
    enum drl_event event)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	struct drl_subflow_sample *sample = &slot->sample;
	bool has_rtt = tp->srtt_us != 0;

	sample->conn_id = sf->token;
	sample->seq++;
	sample->timestamp_us = now_us();
	sample->event = event;
	sample_window_fill(sample, tp, sf);
	sample_counters_fill(slot, tp);
	sample->srtt_us = tp->srtt_us >> 3;
	sample->rttvar_us = has_rtt ? tp->mdev_us >> 2 : 0;
	sample->min_rtt_us = has_rtt ? tp->rtt_min.s[0].v : 0;
	sample->last_rtt_us = sf->last_rtt_us ? sf->last_rtt_us : sample->srtt_us;
	sample->state = sf->state;
	sample->flags = (BPF_CORE_READ_BITFIELD(tp, rate_app_limited) ? DRL_FLAG_APP_LIMITED : 0) |
	    (sf->lease_end_us == 0 ? DRL_FLAG_FALLBACK : 0) | (sample->flags & DRL_FLAG_BACKUP);
	slot->lease_end_us = sf->lease_end_us;
}

#endif /* CCDRL_SAMPLE_H */
