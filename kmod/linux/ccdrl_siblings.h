/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The subflows of one MPTCP connection, as the fallback needs them. Each subflow writes its own member with every ACK
 * and reads the others'. Nothing here is locked: a member that got lost in a race with the connection's last subflow
 * finds out with its next ACK and joins again.
 */
#ifndef CCDRL_SIBLINGS_H
#define CCDRL_SIBLINGS_H

#include "ccdrl_bpf.h"

#define FAILED_BACKOFF 3	/* RTOs in a row after which a subflow no longer counts (seeds: a quarter of the allowed) */

struct ccdrl_member {
	__u64 id;		/* subflow_id; 0: free */
	__u32 cwnd_bytes;
	__u32 srtt_us;		/* 0: not counted */
};

struct ccdrl_connection {
	struct ccdrl_member members[DRL_SUBFLOWS_MAX];
};

/* By token, unique in a kernel. Not preallocated: no deleted entry is reused while a program may write to it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct ccdrl_connection);
} ccdrl_connections SEC(".maps");

static struct ccdrl_connection connection_empty;

/* MPTCP's part of a subflow, NULL for plain TCP. */
static __always_inline const struct mptcp_subflow_context *mptcp_context_get(struct sock *sk)
{
	const struct inet_connection_sock *icsk = (const struct inet_connection_sock *)sk;

	if (!((const struct tcp_sock *)sk)->is_mptcp)
		return NULL;
	return bpf_rdonly_cast(icsk->icsk_ulp_data, bpf_core_type_id_kernel(struct mptcp_subflow_context));
}

/* The connection's token, 0 if there is none (yet). */
static __always_inline __u32 mptcp_token_get(const struct mptcp_subflow_context *context)
{
	const struct mptcp_sock *msk;

	if (context == NULL)
		return 0;
	if (context->token != 0)
		return context->token;
	msk = bpf_rdonly_cast(context->conn, bpf_core_type_id_kernel(struct mptcp_sock));
	return msk != NULL ? msk->token : 0;
}

static __always_inline bool mptcp_is_backup(const struct mptcp_subflow_context *context)
{
	return context != NULL && (BPF_CORE_READ_BITFIELD(context, backup) || BPF_CORE_READ_BITFIELD(context, request_bkup));
}

/* What the functions below need of a socket. They are global, so that the verifier walks their loops once and apart. */
struct ccdrl_self {
	__u64 id;
	__u32 token;
	__u32 member;		/* index; MEMBER_NONE */
	__u32 cwnd_bytes;
	__u32 srtt_us;
	__u32 acked_bytes;
	__u32 mss_bytes;
};

static __always_inline struct ccdrl_connection *connection_get(__u32 token)
{
	return token != 0 ? bpf_map_lookup_elem(&ccdrl_connections, &token) : NULL;
}

/* The mask is for the verifier, which forgets bounds that were checked in another register. */
static __always_inline struct ccdrl_member *member_get(struct ccdrl_connection *connection, __u32 index)
{
	asm volatile("" : "+r"(index));
	return &connection->members[index & (DRL_SUBFLOWS_MAX - 1)];
}
_Static_assert((DRL_SUBFLOWS_MAX & (DRL_SUBFLOWS_MAX - 1)) == 0, "a mask bounds an index");

/* Takes a free place among the members; returns its index, MEMBER_NONE if all are taken. */
__attribute__((noinline)) int connection_join(const struct ccdrl_self *self)
{
	struct ccdrl_connection *connection;
	__u32 token;

	if (self == NULL || self->token == 0)
		return MEMBER_NONE;
	token = self->token;
	bpf_map_update_elem(&ccdrl_connections, &token, &connection_empty, BPF_NOEXIST);
	connection = connection_get(token);
	if (connection == NULL)
		return MEMBER_NONE;
	for (__u32 i = 0; i < DRL_SUBFLOWS_MAX; i++) {
		if (__sync_val_compare_and_swap(&connection->members[i].id, 0, self->id) == 0)
			return i;
	}
	return MEMBER_NONE;
}

__attribute__((noinline)) int connection_leave(const struct ccdrl_self *self)
{
	struct ccdrl_connection *connection = self != NULL ? connection_get(self->token) : NULL;
	__u32 token, others = 0;

	if (connection == NULL)
		return 0;
	for (__u32 i = 0; i < DRL_SUBFLOWS_MAX; i++) {
		struct ccdrl_member *member = &connection->members[i];

		if (member->id == self->id)
			__sync_lock_test_and_set(&member->id, 0);
		else
			others += member->id != 0;
	}
	token = self->token;
	if (others == 0)
		bpf_map_delete_elem(&ccdrl_connections, &token);
	return 0;
}

/* The caller's row first; a row without an RTT is nobody's, and the arithmetic leaves it out. */
struct ccdrl_rows {
	struct ccdrl_fallback_sibling rows[DRL_SUBFLOWS_MAX + 1];
	__u32 acked_bytes;
	__u32 mss_bytes;
};

/* Returns whether the connection has members. Apart from the arithmetic, so that the verifier walks each by itself. */
__attribute__((noinline)) int rows_gather(struct ccdrl_rows *out, const struct ccdrl_self *self)
{
	const struct ccdrl_connection *connection;

	if (out == NULL || self == NULL)
		return 0;
	connection = connection_get(self->token);
	if (connection == NULL || self->member >= DRL_SUBFLOWS_MAX)
		return 0;
	for (__u32 i = 0; i < DRL_SUBFLOWS_MAX; i++) {
		const struct ccdrl_member *member = &connection->members[i];
		bool is_sibling = member->id != 0 && member->id != self->id;

		out->rows[i + 1].cwnd_bytes = member->cwnd_bytes;
		out->rows[i + 1].srtt_us = is_sibling ? member->srtt_us : 0;
	}
	return 1;
}

__attribute__((noinline)) __u64 lia_increase_q8(const struct ccdrl_rows *rows)
{
	if (rows == NULL)
		return 0;
	return ccdrl_fallback_increase_q8(rows->rows, DRL_SUBFLOWS_MAX + 1, 0, rows->acked_bytes, rows->mss_bytes);
}

/* What the fallback adds, in 1/256 byte: LIA over the live members, Reno alone. */
static __always_inline __u64 connection_increase_q8(const struct ccdrl_self *self)
{
	struct ccdrl_rows rows = {};

	rows.rows[0].cwnd_bytes = self->cwnd_bytes;
	rows.rows[0].srtt_us = self->srtt_us;
	rows.acked_bytes = self->acked_bytes;
	rows.mss_bytes = self->mss_bytes;
	if (rows_gather(&rows, self))
		return lia_increase_q8(&rows);
	return ccdrl_fallback_increase_q8(rows.rows, 1, 0, self->acked_bytes, self->mss_bytes);
}

/* In fast recovery siblings count with ssthresh (RFC 6356 section 3). */
static __always_inline void self_fill(struct ccdrl_self *self, struct sock *sk, const struct ccdrl_subflow *sf)
{
	const struct inet_connection_sock *icsk = (const struct inet_connection_sock *)sk;
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	__u32 segments = tp->snd_cwnd;

	if (sf->state == DRL_STATE_RECOVERY && tp->snd_ssthresh < SSTHRESH_INFINITE)
		segments = tp->snd_ssthresh;
	self->id = sf->id;
	self->token = sf->token;
	self->member = sf->member;
	self->mss_bytes = mss_bytes(tp);
	self->acked_bytes = 0;
	self->cwnd_bytes = saturate_u32((__u64)segments * self->mss_bytes);
	self->srtt_us = icsk->icsk_backoff < FAILED_BACKOFF ? tp->srtt_us >> 3 : 0;
}

/* Shows this subflow's window to its siblings. */
static __always_inline void connection_publish(struct sock *sk, struct ccdrl_subflow *sf)
{
	struct ccdrl_connection *connection = connection_get(sf->token);
	struct ccdrl_member *member;
	struct ccdrl_self self;

	if (sf->token == 0)
		return;
	self_fill(&self, sk, sf);
	if (connection == NULL || member_get(connection, sf->member)->id != sf->id) {
		sf->member = connection_join(&self);
		connection = connection_get(sf->token);
	}
	if (connection == NULL || sf->member >= DRL_SUBFLOWS_MAX)
		return;			/* the ninth subflow and later ones are alone */
	member = member_get(connection, sf->member);
	member->cwnd_bytes = self.cwnd_bytes;
	member->srtt_us = self.srtt_us;
}

#endif /* CCDRL_SIBLINGS_H */
