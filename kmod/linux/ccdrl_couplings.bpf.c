/*-
 * SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
 *
 * LIA, OLIA and BALIA for the subflows of upstream Linux's Multipath TCP: three BPF congestion controls, `ccdrl_lia`,
 * `ccdrl_olia` and `ccdrl_balia`. The rules are in coupling.h.
 *
 *   init, release          the subflow lists itself as a member of its connection, and strikes itself off
 *   set_state, cong_avoid  it publishes its window, RTT and loss interval
 *   cong_avoid             it grows by the rule over itself and the members it finds
 *   ssthresh, undo_cwnd    a congestion signal, and one that was none
 *   pkts_acked             what callbacks that never came have spoiled is put right (missed.h)
 *
 * There is no cong_control, so that the kernel keeps its own slow start, recovery (PRR) and pacing. A plain TCP socket, and a
 * subflow whose siblings do not count, is the kernel's Reno.
 *
 * Members are entries of a hash from (MPTCP token, 1 .. 8). A subflow makes one entry, is the only one to write it, and
 * deletes it: no entry is shared, so nothing is locked. A reader may see an entry half a write old,
 * which costs the precision of one ACK. Where no entry can be had (a ninth subflow, a full hash), the subflow still obeys the
 * rule over the members, and a counter tells.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ccdrl_members.h"
#include "missed.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The rows of the caller's siblings; returns how many of them count. */
COUPLING_STEP __u32 rows_gather(struct coupling_rows *rows, __u32 token, __u32 own_number, __u32 own_mss_bytes)
{
	__u32 n = 0;

	if (!rows)
		return 0;
	for (__u32 number = 1; number < COUPLING_ROWS; number++) {
		struct member_key key = { token, number };
		const struct member *member = bpf_map_lookup_elem(&ccdrl_members, &key);
		__u32 srtt_us = member && number != own_number ? member->srtt_us : 0;

		if (!member || srtt_us == 0)
			continue;
		rows->row[number].window = coupling_window(member->cwnd_segments, member->mss_bytes, own_mss_bytes);
		rows->row[number].srtt_us = srtt_us;
		rows->row[number].interval_segments = member->interval_segments;
		n++;
	}
	return n;
}

/* All rows, the caller's first; returns how many siblings count, 0 also where the caller has no RTT. */
static __always_inline __u32 subflow_couple(struct coupling_rows *rows, struct sock *sk, const struct subflow *subflow)
{
	const struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 mss_bytes = tp->mss_cache, srtt_us = tp->srtt_us >> 3;

	__builtin_memset(rows, 0, sizeof(*rows));
	if (subflow->token == 0 || srtt_us == 0)
		return 0;
	rows->row[0].window = coupling_window(subflow->state == TCP_CA_Recovery ? tp->snd_ssthresh : tp->snd_cwnd, mss_bytes,
	    mss_bytes);
	rows->row[0].srtt_us = srtt_us;
	rows->row[0].interval_segments = interval_of(tp, subflow);
	return rows_gather(rows, subflow->token, subflow->number, mss_bytes);
}

/* tcp_is_cwnd_limited() of include/net/tcp.h: a window that is not filled says nothing about the path (RFC 7661). */
static __always_inline bool is_cwnd_limited(const struct tcp_sock *tp)
{
	if (BPF_CORE_READ_BITFIELD(tp, is_cwnd_limited))
		return true;
	return tp->snd_cwnd < tp->snd_ssthresh && tp->snd_cwnd < 2 * tp->max_packets_out;
}

static __always_inline void subflow_remember(const struct sock *sk, struct subflow *subflow)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;

	subflow->seen_cwnd = tp->snd_cwnd;
	subflow->seen_delivered = tp->delivered;
}

static __always_inline void subflow_begin(struct sock *sk, struct subflow *subflow)
{
	subflow->token = token_of(sk);
	subflow->number = 0;
	subflow->state = BPF_CORE_READ_BITFIELD((struct inet_connection_sock *)sk, icsk_ca_state);
	subflow->fraction = 0;
	subflow->delivered_at_loss = ((struct tcp_sock *)sk)->delivered;
	subflow->last_interval_segments = 0;
	subflow_remember(sk, subflow);
	if (subflow->token == 0) {
		__sync_fetch_and_add(&ccdrl_coupling_counters.plain, 1);
		return;
	}
	__sync_fetch_and_add(&ccdrl_coupling_counters.subflows, 1);
	/* A passive subflow is still in SYN_RECV here, with the handshake behind it. */
	member_enlist(sk, subflow, true);
	if (subflow->number == 0)
		__sync_fetch_and_add(&ccdrl_coupling_counters.unlisted, 1);
}

/* Asked once for each episode of loss, time-out or ECN: where one of OLIA's intervals ends and the next begins. A second episode
   before anything was delivered ends none. */
static __always_inline void subflow_signal(struct sock *sk, struct subflow *subflow)
{
	__u32 delivered = ((struct tcp_sock *)sk)->delivered;

	if (delivered != subflow->delivered_at_loss)
		subflow->last_interval_segments = delivered - subflow->delivered_at_loss;
	subflow->delivered_at_loss = delivered;
	subflow->fraction = 0;
}

/* Begins each callback that looks at the window, but init: what a kernel did without asking (missed.h). */
static __always_inline void subflow_catch_up(struct sock *sk, struct subflow *subflow)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 state = BPF_CORE_READ_BITFIELD((struct inet_connection_sock *)sk, icsk_ca_state);
	struct missed_window window = {
		.cwnd = tp->snd_cwnd, .ssthresh = tp->snd_ssthresh, .prior_cwnd = tp->prior_cwnd,
		.seen_cwnd = subflow->seen_cwnd, .delivered = tp->delivered - subflow->seen_delivered,
		.is_entry_missed = state >= TCP_CA_CWR && subflow->state < TCP_CA_CWR,
		.wanted_ssthresh = coupling_half(tp->prior_cwnd),
	};

	/* Not before the kernel has come to init: the ACK of the SYN is an ACK too. */
	if (subflow->seen_cwnd == 0 && BPF_CORE_READ_BITFIELD((struct inet_connection_sock *)sk, icsk_ca_initialized))
		subflow_begin(sk, subflow);
	if (subflow->seen_cwnd == 0)
		return;
	if (window.is_entry_missed)
		subflow_signal(sk, subflow);
	if (missed_repair(&window)) {
		__sync_fetch_and_add(&ccdrl_coupling_counters.repaired, 1);
		tp->snd_cwnd = window.cwnd;
		tp->snd_ssthresh = window.ssthresh;
	}
	subflow->state = state;
}

static __always_inline void subflow_grow(struct sock *sk, __u32 ack, __u32 acked, __s64 (*gain)(const struct coupling_rows *))
{
	struct subflow *subflow = subflow_of(sk);
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	struct coupling_rows rows;
	__u32 fraction;

	subflow_catch_up(sk, subflow);
	if (subflow->token != 0 && subflow->number == 0)
		member_enlist(sk, subflow, is_open(sk));
	if (subflow_couple(&rows, sk, subflow) == 0) {
		tcp_reno_cong_avoid(sk, ack, acked);
	} else if (is_cwnd_limited(tp)) {
		if (tp->snd_cwnd < tp->snd_ssthresh) {
			acked = tcp_slow_start(tp, acked);
			rows.row[0].window = coupling_window(tp->snd_cwnd, tp->mss_cache, tp->mss_cache);
		}
		if (acked) {
			fraction = subflow->fraction;
			tp->snd_cwnd = coupling_grow(tp->snd_cwnd, &fraction, gain(&rows), acked, tp->snd_cwnd_clamp);
			subflow->fraction = fraction;
		}
	}
	member_publish(sk, subflow, is_open(sk));
	subflow_remember(sk, subflow);
}

SEC("struct_ops/coupling_init")
void BPF_PROG(coupling_init, struct sock *sk)
{
	entries_sweep();
	subflow_begin(sk, subflow_of(sk));
}

SEC("struct_ops/coupling_release")
void BPF_PROG(coupling_release, struct sock *sk)
{
	struct subflow *subflow = subflow_of(sk);
	struct member_key key = { subflow->token, subflow->number };

	if (key.number != 0) {
		entry_forget(sk, subflow);
		bpf_map_delete_elem(&ccdrl_members, &key);
	}
	subflow->number = 0;
}

SEC("struct_ops/coupling_pkts_acked")
void BPF_PROG(coupling_pkts_acked, struct sock *sk, const struct ack_sample *sample)
{
	struct subflow *subflow = subflow_of(sk);

	subflow_catch_up(sk, subflow);
	if (subflow->seen_cwnd != 0)
		subflow_remember(sk, subflow);
}

/* Called at every time-out too, before icsk_retransmits counts it. */
SEC("struct_ops/coupling_set_state")
void BPF_PROG(coupling_set_state, struct sock *sk, __u8 new_state)
{
	struct subflow *subflow = subflow_of(sk);
	bool is_dead = new_state == TCP_CA_Loss &&
	    ((struct inet_connection_sock *)sk)->icsk_retransmits >= DEAD_RETRANSMITS;

	subflow_catch_up(sk, subflow);
	subflow->state = new_state;
	member_publish(sk, subflow, is_open(sk) && !is_dead);
	subflow_remember(sk, subflow);
}

SEC("struct_ops/coupling_ssthresh")
__u32 BPF_PROG(coupling_ssthresh, struct sock *sk)
{
	subflow_catch_up(sk, subflow_of(sk));
	subflow_signal(sk, subflow_of(sk));
	return coupling_half(((struct tcp_sock *)sk)->snd_cwnd);
}

SEC("struct_ops/balia_ssthresh")
__u32 BPF_PROG(balia_ssthresh, struct sock *sk)
{
	struct subflow *subflow = subflow_of(sk);
	struct coupling_rows rows;

	subflow_catch_up(sk, subflow);
	subflow_signal(sk, subflow);
	if (subflow_couple(&rows, sk, subflow) == 0)
		return coupling_half(((struct tcp_sock *)sk)->snd_cwnd);
	return coupling_balia_ssthresh(&rows, ((struct tcp_sock *)sk)->snd_cwnd);
}

SEC("struct_ops/coupling_undo_cwnd")
__u32 BPF_PROG(coupling_undo_cwnd, struct sock *sk)
{
	return tcp_reno_undo_cwnd(sk);
}

SEC("struct_ops/lia_cong_avoid")
void BPF_PROG(lia_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	subflow_grow(sk, ack, acked, coupling_lia_gain);
}

SEC("struct_ops/olia_cong_avoid")
void BPF_PROG(olia_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	subflow_grow(sk, ack, acked, coupling_olia_gain);
}

SEC("struct_ops/balia_cong_avoid")
void BPF_PROG(balia_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	subflow_grow(sk, ack, acked, coupling_balia_gain);
}

SEC(".struct_ops")
struct tcp_congestion_ops ccdrl_lia = {
	.init = (void *)coupling_init,
	.release = (void *)coupling_release,
	.set_state = (void *)coupling_set_state,
	.cong_avoid = (void *)lia_cong_avoid,
	.ssthresh = (void *)coupling_ssthresh,
	.undo_cwnd = (void *)coupling_undo_cwnd,
	.pkts_acked = (void *)coupling_pkts_acked,
	.flags = CONG_NON_RESTRICTED,
	.name = "ccdrl_lia",
};

SEC(".struct_ops")
struct tcp_congestion_ops ccdrl_olia = {
	.init = (void *)coupling_init,
	.release = (void *)coupling_release,
	.set_state = (void *)coupling_set_state,
	.cong_avoid = (void *)olia_cong_avoid,
	.ssthresh = (void *)coupling_ssthresh,
	.undo_cwnd = (void *)coupling_undo_cwnd,
	.pkts_acked = (void *)coupling_pkts_acked,
	.flags = CONG_NON_RESTRICTED,
	.name = "ccdrl_olia",
};

SEC(".struct_ops")
struct tcp_congestion_ops ccdrl_balia = {
	.init = (void *)coupling_init,
	.release = (void *)coupling_release,
	.set_state = (void *)coupling_set_state,
	.cong_avoid = (void *)balia_cong_avoid,
	.ssthresh = (void *)balia_ssthresh,
	.undo_cwnd = (void *)coupling_undo_cwnd,
	.pkts_acked = (void *)coupling_pkts_acked,
	.flags = CONG_NON_RESTRICTED,
	.name = "ccdrl_balia",
};
