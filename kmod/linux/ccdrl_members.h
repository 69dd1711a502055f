/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The members of the connections under a coupling: what a subflow keeps for itself, and the entry that its siblings see. Entries
 * that outlive their sockets are struck off.
 */
#ifndef CCDRL_MEMBERS_H
#define CCDRL_MEMBERS_H

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define COUPLING_STEP __noinline	/* global: the verifier judges each step by itself */
#include "coupling.h"

#define CHECK_AGE_NS 2000000000ULL	/* a socket in its init does not look alive yet */

enum {
	MEMBERS_MAX = 65536,		/* subflows of all connections; memory is taken as they come */
	/* Preprocessor constants of the kernel, which BTF does not carry. Without NON_RESTRICTED the sysctl of a network
	   namespace other than the first refuses the name. */
	CONG_NON_RESTRICTED = 1,
	DEAD_RETRANSMITS = 2,		/* the third RTO in a row: as the simulator's failed subflow */
	RECENT_MAX = 1024,
	RECENT_CHECKS = 32,		/* a subflow that comes looks at so many of them */
};

struct member_key {
	__u32 token;			/* unique on this machine */
	__u32 number;			/* 1 .. DRL_SUBFLOWS_MAX */
};

struct member {
	__u32 cwnd_segments;		/* in fast recovery ssthresh */
	__u32 mss_bytes;
	__u32 srtt_us;			/* 0: does not count: no sample yet, closing, or dead */
	__u32 interval_segments;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MEMBERS_MAX);
	__type(key, struct member_key);
	__type(value, struct member);
} ccdrl_members SEC(".maps");

/* The newest entries and their sockets, in turn: looked at again as others come (entry_check). */
struct recent {
	struct member_key key;
	__u64 owner;			/* the socket as a number; 0: released */
	__u64 since_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RECENT_MAX);
	__type(key, __u32);
	__type(value, struct recent);
} ccdrl_recent SEC(".maps");

static __u32 recent_next, recent_hand;

struct coupling_counters {
	__u64 subflows;			/* subflows of MPTCP connections seen by init */
	__u64 plain;			/* sockets without a token: TCP */
	__u64 unlisted;			/* subflows that found no entry */
	__u64 repaired;			/* windows that no callback of ours had left so (missed.h) */
	__u64 reclaimed;		/* entries whose sockets were gone, and the kernel had not told */
} ccdrl_coupling_counters;

/* What a subflow keeps for itself, in icsk_ca_priv; zeroed by the kernel before init. */
struct subflow {
	__u32 token;			/* 0: plain TCP */
	__u32 number;			/* of its entry; 0: none */
	__u32 state;			/* enum tcp_ca_state, as set_state told it */
	__u32 fraction;			/* of the window, in 2^-32 segments */
	__u32 delivered_at_loss;	/* tp->delivered at the last congestion signal */
	__u32 last_interval_segments;	/* OLIA's l1 */
	__u32 seen_cwnd;		/* what our last callback left (missed.h); 0: there was none, not even init */
	__u32 seen_delivered;		/* tp->delivered then */
	__u32 recent;			/* its place in ccdrl_recent */
};

_Static_assert(sizeof(struct subflow) <= sizeof(((struct inet_connection_sock *)0)->icsk_ca_priv), "fits the socket");

extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym;
extern __u32 tcp_slow_start(struct tcp_sock *tp, __u32 acked) __ksym;
extern void tcp_reno_cong_avoid(struct sock *sk, __u32 ack, __u32 acked) __ksym;
extern __u32 tcp_reno_undo_cwnd(struct sock *sk) __ksym;

static __always_inline struct subflow *subflow_of(struct sock *sk)
{
	return (struct subflow *)((struct inet_connection_sock *)sk)->icsk_ca_priv;
}

/* The connection's token: the subflow's context has it, or the connection when the context does not yet. */
static __always_inline __u32 token_of(struct sock *sk)
{
	const struct mptcp_subflow_context *context;
	const struct mptcp_sock *connection;

	if (!((struct tcp_sock *)sk)->is_mptcp)
		return 0;
	context = bpf_rdonly_cast(((struct inet_connection_sock *)sk)->icsk_ulp_data,
	    bpf_core_type_id_kernel(struct mptcp_subflow_context));
	if (!context)
		return 0;
	if (context->token)
		return context->token;
	connection = bpf_rdonly_cast(context->conn, bpf_core_type_id_kernel(struct mptcp_sock));
	return connection ? connection->token : 0;
}

static __always_inline __u32 interval_of(const struct tcp_sock *tp, const struct subflow *subflow)
{
	__u32 since = tp->delivered - subflow->delivered_at_loss;

	return since > subflow->last_interval_segments ? since : subflow->last_interval_segments;
}

static __always_inline void member_fill(struct member *member, struct sock *sk, const struct subflow *subflow, bool is_counted)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	member->cwnd_segments = subflow->state == TCP_CA_Recovery ? tp->snd_ssthresh : tp->snd_cwnd;
	member->mss_bytes = tp->mss_cache;
	member->srtt_us = is_counted ? tp->srtt_us >> 3 : 0;
	member->interval_segments = interval_of(tp, subflow);
}

static __always_inline void member_publish(struct sock *sk, const struct subflow *subflow, bool is_counted)
{
	struct member_key key = { subflow->token, subflow->number };
	struct member *member;

	if (key.number == 0)
		return;
	member = bpf_map_lookup_elem(&ccdrl_members, &key);
	if (member)
		member_fill(member, sk, subflow, is_counted);
}

/* Whether a socket still has this entry's subflow. Its memory may be another's by now: it is read with care. */
static __always_inline bool is_owner_alive(const struct recent *recent)
{
	const struct inet_connection_sock *icsk = (const struct inet_connection_sock *)recent->owner;
	struct subflow subflow = {};

	bpf_core_read(&subflow, sizeof(subflow), &icsk->icsk_ca_priv);
	return subflow.token == recent->key.token && subflow.number == recent->key.number &&
	    BPF_CORE_READ_BITFIELD_PROBED(icsk, icsk_ca_initialized);
}

/* Strikes off an entry whose socket is gone: a kernel that leaves out release leaves it behind. */
__attribute__((noinline)) int entry_check(__u32 index)
{
	struct recent *recent = bpf_map_lookup_elem(&ccdrl_recent, &index), seen;

	if (!recent)
		return 0;
	seen = *recent;
	if (seen.owner == 0 || seen.since_ns + CHECK_AGE_NS > bpf_ktime_get_ns() || is_owner_alive(&seen) ||
	    __sync_val_compare_and_swap(&recent->owner, seen.owner, 0) != seen.owner)
		return 0;
	if (bpf_map_delete_elem(&ccdrl_members, &seen.key) == 0)
		__sync_fetch_and_add(&ccdrl_coupling_counters.reclaimed, 1);
	return 1;
}

/* A new entry. What stood in its place of the ring is looked at for the last time. */
static __always_inline void entry_note(struct sock *sk, struct subflow *subflow)
{
	__u32 index = __sync_fetch_and_add(&recent_next, 1) % RECENT_MAX;
	struct recent *recent = bpf_map_lookup_elem(&ccdrl_recent, &index);

	if (!recent)
		return;
	entry_check(index);
	recent->key.token = subflow->token;
	recent->key.number = subflow->number;
	recent->since_ns = bpf_ktime_get_ns();
	recent->owner = (__u64)sk;
	subflow->recent = index;
}

/* The number may be another subflow's from here on. */
static __always_inline void entry_forget(struct sock *sk, const struct subflow *subflow)
{
	__u32 index = subflow->recent;
	struct recent *recent = bpf_map_lookup_elem(&ccdrl_recent, &index);

	if (recent)
		__sync_val_compare_and_swap(&recent->owner, (__u64)sk, 0);
}

static __always_inline void entries_sweep(void)
{
	for (__u32 i = 0; i < RECENT_CHECKS; i++)
		entry_check(__sync_fetch_and_add(&recent_hand, 1) % RECENT_MAX);
}

/* The first free number; a number is taken by whoever inserts its entry. The verifier follows a counter only outside memory that
   helpers are handed, here and below. */
static __always_inline void member_enlist(struct sock *sk, struct subflow *subflow, bool is_counted)
{
	struct member member;

	member_fill(&member, sk, subflow, is_counted);
	for (__u32 number = 1; number <= DRL_SUBFLOWS_MAX; number++) {
		struct member_key key = { subflow->token, number };

		if (bpf_map_update_elem(&ccdrl_members, &key, &member, BPF_NOEXIST) == 0) {
			subflow->number = number;
			entry_note(sk, subflow);
			return;
		}
	}
}

static __always_inline bool is_open(const struct sock *sk)
{
	return sk->__sk_common.skc_state == TCP_ESTABLISHED || sk->__sk_common.skc_state == TCP_CLOSE_WAIT;
}

#endif /* CCDRL_MEMBERS_H */
