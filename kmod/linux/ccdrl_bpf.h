/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the parts of the BPF controller `ccdrl` share: its maps, its state in the socket, and what the kernel's headers
 * define as macros, which BTF does not carry.
 */
#ifndef CCDRL_BPF_H
#define CCDRL_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ccdrl.h"
#include "ccdrl_fallback.h"
#include "ccdrl_linux.h"
#include "missed.h"

/* net/ipv4/tcp_input.c: what an ACK said */
#define FLAG_DATA_ACKED 0x04
#define FLAG_DATA_SACKED 0x20
#define FLAG_ECE 0x40
#define FLAG_SND_UNA_ADVANCED 0x400

#define SSTHRESH_INFINITE 0x7fffffff	/* include/net/tcp.h */
#define US_PER_S 1000000ULL
#define MEMBER_NONE 255

extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym;

/* The loader sets how many entries the maps have, and fills `ccdrl_slots` and `ccdrl_info`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ccdrl_state_slot);
} ccdrl_states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} ccdrl_changes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ccdrl_control_slot);
} ccdrl_controls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ccdrl_linux_info);
} ccdrl_info SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct drl_counters);
} ccdrl_tally SEC(".maps");

/* The socket that has a slot, as a number; 0: none. Whoever makes it 0 gives the slot back. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} ccdrl_owners SEC(".maps");

/* Free slots, first in first out: a slot rests as long as it can, so that the last record in it is read. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__uint(value_size, sizeof(__u32));
} ccdrl_slots SEC(".maps");

/* The controller's part of a socket (icsk_ca_priv, 104 bytes). Everything is 0 before init. */
struct ccdrl_subflow {
	__u64 id;		/* subflow_id; 0: not ours. First: slots_sweep() reads it from a distance */
	__u64 lease_end_us;	/* 0: no lease, the fallback sets the window */
	__u64 pacing_bytes_per_s; /* the action's; 0: the kernel's own rule */
	__u32 slot;		/* CCDRL_LINUX_SLOT_NONE: nobody sees this subflow */
	__u32 token;		/* MPTCP; 0: plain TCP, or not known yet */
	__u32 control_version;	/* of the newest action looked at */
	__u32 target_bytes;	/* the action's window */
	__u32 prr_delivered;	/* RFC 6937; the kernel's own is not for programs to write */
	__u32 rest_q8;		/* what the fallback's increases lack to a segment, 1/256 byte */
	__u32 last_rtt_us;
	__u32 seen_cwnd;	/* what our last callback left (missed.h), in segments; 0: there was none */
	__u32 seen_delivered;	/* tp->delivered then */
	__u8 member;		/* index among the connection's members */
	__u8 state;		/* enum drl_state: icsk_ca_state is written after set_state */
	__u8 is_closed;		/* it had an id, and its last record is written */
	__u8 reserved[5];
};
_Static_assert(sizeof(struct ccdrl_subflow) <= 104, "ICSK_CA_PRIV_SIZE");

static __always_inline struct ccdrl_subflow *subflow_of(struct sock *sk)
{
	return (struct ccdrl_subflow *)((struct inet_connection_sock *)sk)->icsk_ca_priv;
}

/* Whether the kernel has come to init: the ACK of the SYN has cong_control called before. */
static __always_inline bool is_initialized(struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD((struct inet_connection_sock *)sk, icsk_ca_initialized);
}

static __always_inline struct ccdrl_linux_info *info_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ccdrl_info, &zero);
}

/* Counts rare things only: nothing that happens with every ACK. */
#define COUNT(field) \
	do { \
		struct ccdrl_linux_info *counted = info_get(); \
		if (counted != NULL) \
			__sync_fetch_and_add(&counted->counters.field, 1); \
	} while (0)

static __always_inline __u64 now_us(void)
{
	return bpf_ktime_get_ns() / 1000;
}

static __always_inline __u32 min_u32(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

static __always_inline __u32 max_u32(__u32 a, __u32 b)
{
	return a > b ? a : b;
}

static __always_inline __u32 saturate_u32(__u64 value)
{
	return value < 0xffffffffULL ? (__u32)value : 0xffffffffU;
}

static __always_inline __u32 mss_bytes(const struct tcp_sock *tp)
{
	return max_u32(tp->mss_cache, 1);
}

/* Packets in the network, as tcp_packets_in_flight() has it (RFC 6675 pipe). */
static __always_inline __u32 inflight_packets(const struct tcp_sock *tp)
{
	return tp->packets_out - (tp->sacked_out + tp->lost_out) + tp->retrans_out;
}

/* Bounds of every window in segments; in recovery and after an RTO it may be lower than the first. */
static __always_inline __u32 cwnd_max_segments(const struct tcp_sock *tp)
{
	const struct ccdrl_linux_info *info = info_get();
	__u32 bytes = info != NULL ? min_u32(info->cwnd_max_bytes, CCDRL_LINUX_CWND_MAX_BYTES) : CCDRL_LINUX_CWND_MAX_BYTES;

	return min_u32(max_u32(bytes / mss_bytes(tp), DRL_CWND_MIN_SEGMENTS), tp->snd_cwnd_clamp);
}

static __always_inline __u32 target_segments(const struct tcp_sock *tp, const struct ccdrl_subflow *sf)
{
	return min_u32(max_u32(sf->target_bytes / mss_bytes(tp), DRL_CWND_MIN_SEGMENTS), cwnd_max_segments(tp));
}

static __always_inline struct ccdrl_state_slot *state_slot_get(const struct ccdrl_subflow *sf)
{
	__u32 slot = sf->slot;

	return bpf_map_lookup_elem(&ccdrl_states, &slot);	/* NULL: no such slot */
}

#endif /* CCDRL_BPF_H */
