// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The controller `ccdrl` of Linux: one record a subflow out, leased windows in, LIA in the kernel between leases.
 *
 *   init          a slot and an id for the subflow; without a free slot, fallback for life
 *   cong_control  with each ACK: new action? lease over? window, pacing, record
 *   set_state     an RTO ends the lease; recovery begins and ends
 *   ssthresh      what a reduction heads for: the leased window, without a lease half
 *   cwnd_event    restart after idle time
 *   release       the last record; the slot goes to the end of the queue. Earlier, when our FIN is acknowledged
 *
 * Under a lease a loss does not move the window: the agent sees the loss and answers. The kernel holds the socket's
 * lock in every callback, so a subflow's own state needs none.
 *
 * No sndbuf_expand: the kernel's own two windows do. With a BPF program there, send buffers jumped to the maximum of
 * tcp_wmem in every third connection (Linux 6.18), and MPTCP filled them with megabytes for a subflow that had stalled.
 */
#include "ccdrl_bpf.h"
#include "ccdrl_lease.h"
#include "ccdrl_sample.h"
#include "ccdrl_siblings.h"
#include "ccdrl_slots.h"
#include "ccdrl_state.h"
#include "ccdrl_window.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void subflow_identify(struct sock *sk, struct ccdrl_subflow *sf)
{
	if (sf->token == 0)
		sf->token = mptcp_token_get(mptcp_context_get(sk));
}

/* The first record; what an earlier subflow left in the slot goes. */
static __always_inline void slot_open(struct sock *sk, struct ccdrl_subflow *sf, struct ccdrl_state_slot *slot)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	__u32 lock;

	slot_write_begin(slot);
	lock = slot->lock;
	__builtin_memset(slot, 0, sizeof(*slot));
	slot->lock = lock;
	slot->sample.abi = DRL_ABI_VERSION;
	slot->sample.subflow_id = sf->id;
	slot->lost_packets = tp->lost;
	sample_addresses_fill(&slot->sample, sk);
	sample_write(sk, sf, slot, DRL_EVENT_CREATED);
	slot_write_end(slot, sf->slot);
}

/* A slot and an id. Also with an ACK, where the kernel has left out init. */
static __always_inline void subflow_begin(struct sock *sk)
{
	const struct inet_connection_sock *icsk = (const struct inet_connection_sock *)sk;
	struct ccdrl_subflow *sf = subflow_of(sk);
	struct ccdrl_linux_info *info = info_get();
	struct ccdrl_control_slot *control;
	struct ccdrl_state_slot *slot;
	__u32 index = CCDRL_LINUX_SLOT_NONE;
	__u64 *owner;

	if (info == NULL)
		return;
	if (bpf_map_pop_elem(&ccdrl_slots, &index) != 0) {
		index = CCDRL_LINUX_SLOT_NONE;
		COUNT(no_slot);
	}
	COUNT(created);
	__builtin_memset(sf, 0, sizeof(*sf));
	sf->slot = index;
	sf->member = MEMBER_NONE;
	sf->state = BPF_CORE_READ_BITFIELD(icsk, icsk_ca_state);
	/* Loads begin later than the last one's start plus its subflows, at less than one a microsecond: ids never return. */
	sf->id = (info->loaded_us + __sync_fetch_and_add(&info->generations, 1)) << CCDRL_LINUX_SLOT_BITS | index;
	subflow_identify(sk, sf);
	/* A socket begins without a bound. MPTCP's scheduler would take that for a rate, and queue on this subflow for long. */
	pacing_update(sk, sf);
	connection_publish(sk, sf);
	subflow_remember(sk, sf);
	slot = state_slot_get(sf);
	control = bpf_map_lookup_elem(&ccdrl_controls, &index);
	owner = bpf_map_lookup_elem(&ccdrl_owners, &index);
	if (slot == NULL || control == NULL || owner == NULL)
		return;
	sf->control_version = *(volatile __u32 *)&control->version;	/* what is there now is not for this subflow */
	slot_open(sk, sf, slot);
	*(volatile __u64 *)owner = (__u64)sk;
}

SEC("struct_ops/ccdrl_init")
void BPF_PROG(ccdrl_init, struct sock *sk)
{
	slots_sweep(now_us());
	subflow_begin(sk);
}

/* The last record; the subflow is nobody's from here on. */
static __always_inline void subflow_close(struct sock *sk, struct ccdrl_subflow *sf)
{
	struct ccdrl_state_slot *slot;
	struct ccdrl_self self;
	__u32 index = sf->slot;

	COUNT(closed);
	self_fill(&self, sk, sf);
	connection_leave(&self);
	lease_end(sf);
	slot = state_slot_get(sf);
	if (slot != NULL && owner_take(index, (__u64)sk)) {
		slot_write_begin(slot);
		sample_write(sk, sf, slot, DRL_EVENT_CLOSED);
		slot_write_end(slot, index);
		bpf_map_push_elem(&ccdrl_slots, &index, BPF_ANY);
	}
	sf->id = 0;
	sf->is_closed = true;
}

/*
 * Everything has been sent and acknowledged, our FIN too. MPTCP keeps the socket of a connection's first subflow, and
 * with it the controller, until the connection ends.
 */
static __always_inline bool is_finished(const struct sock *sk)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	__u8 state = sk->__sk_common.skc_state;

	return (state == TCP_FIN_WAIT1 || state == TCP_CLOSING || state == TCP_LAST_ACK) && tp->snd_una == tp->write_seq;
}

SEC("struct_ops/ccdrl_release")
void BPF_PROG(ccdrl_release, struct sock *sk)
{
	struct ccdrl_subflow *sf = subflow_of(sk);

	if (sf->id != 0)
		subflow_close(sk, sf);
}

SEC("struct_ops/ccdrl_cong_control")
void BPF_PROG(ccdrl_cong_control, struct sock *sk, __u32 ack, int flag, const struct rate_sample *rs)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	struct ccdrl_subflow *sf = subflow_of(sk);
	struct ccdrl_state_slot *slot;
	__u64 now = now_us();

	slots_sweep(now);
	if (sf->id == 0 && !sf->is_closed && is_initialized(sk))
		subflow_begin(sk);
	if (sf->id == 0)
		return;
	if (is_finished(sk)) {
		subflow_close(sk, sf);
		return;
	}
	subflow_catch_up(sk, sf);
	subflow_identify(sk, sf);
	if (rs->rtt_us > 0)
		sf->last_rtt_us = rs->rtt_us;
	slot = state_slot_get(sf);
	if (slot != NULL)
		lease_poll(sk, sf, slot, now);
	if (is_in_lease(sf) && now >= sf->lease_end_us)
		lease_expire(sk, sf, rs->prior_in_flight);
	window_update(sk, sf, rs, flag);
	pacing_update(sk, sf);
	connection_publish(sk, sf);
	subflow_remember(sk, sf);
	if (slot == NULL)
		return;
	slot_write_begin(slot);
	slot->sample.ecn_marks += (flag & FLAG_ECE) != 0;
	slot->cwnd_limited_acks += BPF_CORE_READ_BITFIELD(tp, is_cwnd_limited);
	slot->rwnd_limited_acks += tp->chrono_type == TCP_CHRONO_RWND_LIMITED;
	slot->sample.flags = mptcp_is_backup(mptcp_context_get(sk)) ? DRL_FLAG_BACKUP : 0;
	sample_write(sk, sf, slot, DRL_EVENT_SAMPLE);
	slot_write_end(slot, sf->slot);
}

SEC("struct_ops/ccdrl_ssthresh")
__u32 BPF_PROG(ccdrl_ssthresh, struct sock *sk)
{
	struct ccdrl_subflow *sf = subflow_of(sk);

	subflow_catch_up(sk, sf);
	sf->prr_delivered = 0;		/* a reduction begins */
	sf->rest_q8 = 0;
	return reduced_segments(sk, sf, ((struct tcp_sock *)sk)->snd_cwnd);
}

SEC("struct_ops/ccdrl_undo_cwnd")
__u32 BPF_PROG(ccdrl_undo_cwnd, struct sock *sk)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;

	return min_u32(max_u32(tp->snd_cwnd, tp->prior_cwnd), cwnd_max_segments(tp));
}

SEC("struct_ops/ccdrl_set_state")
void BPF_PROG(ccdrl_set_state, struct sock *sk, __u8 new_state)
{
	struct ccdrl_subflow *sf = subflow_of(sk);

	if (sf->id == 0)
		return;
	subflow_catch_up(sk, sf);
	state_follow(sk, sf, new_state);
	subflow_remember(sk, sf);
}

SEC("struct_ops/ccdrl_cwnd_event")
void BPF_PROG(ccdrl_cwnd_event, struct sock *sk, enum tcp_ca_event event)
{
	struct ccdrl_subflow *sf = subflow_of(sk);

	if (sf->id != 0 && event == CA_EVENT_TX_START)
		window_restart(sk, sf);
}

SEC(".struct_ops")
struct tcp_congestion_ops ccdrl = {
	.name = "ccdrl",
	/* TCP_CONG_NON_RESTRICTED: without it the sysctl of a network namespace refuses us, and leaks a reference */
	.flags = 1,
	.init = (void *)ccdrl_init,
	.release = (void *)ccdrl_release,
	.cong_control = (void *)ccdrl_cong_control,
	.ssthresh = (void *)ccdrl_ssthresh,
	.undo_cwnd = (void *)ccdrl_undo_cwnd,
	.set_state = (void *)ccdrl_set_state,
	.cwnd_event = (void *)ccdrl_cwnd_event,
};
