/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * ccdrl kernel interface, ABI v2.
 *
 * THE interface between a datapath (simulator, Linux BPF, FreeBSD module) and the agent. It is compiled by every datapath
 * and parsed by cffi for Python; no other file repeats these layouts. cwnd and all amounts are in bytes, times in
 * microseconds of the datapath's monotonic clock, addresses in network byte order, ports in host byte order.
 *
 * Two calls carry it:
 *   drl_get_buffer(samples, &count)   count in = capacity, count out = records filled; one coalesced record per subflow
 *   drl_update_cwnd(actions, n)       one result (enum drl_action_result) per action
 *
 * Counters are cumulative from the subflow's creation: a slow reader loses resolution, never bytes.
 * Constants are enumerators, so that they survive the C preprocessor on their way to cffi.
 */
#ifndef CCDRL_H
#define CCDRL_H

#ifndef CCDRL_CFFI
#if defined(_KERNEL) && defined(__FreeBSD__)
#include <sys/types.h>
#elif defined(__VMLINUX_H__)
typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
typedef __s32 int32_t;
#else
#include <stdint.h>
#endif
#endif /* !CCDRL_CFFI */

enum drl_limits {
	DRL_ABI_VERSION = 2,
	DRL_SUBFLOWS_MAX = 8,		/* subflows the policy and the fallback couple in one connection */
	DRL_CWND_MIN_SEGMENTS = 2,	/* lowest window an action may set, in MSS */
	DRL_LEASE_MAX_US = 10000000,	/* longest lease an action may ask for */
};

/* The last thing that happened to the subflow (drl_subflow_sample.event). */
enum drl_event {
	DRL_EVENT_CREATED = 1,		/* first record of this subflow */
	DRL_EVENT_SAMPLE = 2,		/* counters moved */
	DRL_EVENT_STATE = 3,		/* congestion state changed since the last record */
	DRL_EVENT_CLOSED = 4,		/* last record of this subflow */
};

/* Congestion state (drl_subflow_sample.state), in the order of Linux's tcp_ca_state. */
enum drl_state {
	DRL_STATE_OPEN = 0,
	DRL_STATE_DISORDER = 1,		/* SACKed or duplicate ACKs seen, nothing marked lost yet */
	DRL_STATE_CWR = 2,		/* reducing after an ECN mark */
	DRL_STATE_RECOVERY = 3,		/* fast recovery */
	DRL_STATE_LOSS = 4,		/* after a retransmission time-out */
};

/* drl_subflow_sample.flags */
enum drl_flag {
	DRL_FLAG_APP_LIMITED = 1,	/* the latest delivery rate sample was limited by the application */
	DRL_FLAG_CWND_LIMITED = 2,	/* cwnd held back data since the last record */
	DRL_FLAG_FALLBACK = 4,		/* no valid lease: the in-kernel fallback sets the window */
	DRL_FLAG_BACKUP = 8,		/* MP_PRIO backup subflow */
	DRL_FLAG_RWND_LIMITED = 16,	/* the peer's window held back data since the last record */
};

/* Fields a datapath cannot give (drl_subflow_sample.absent); such fields hold 0. */
enum drl_absent {
	DRL_ABSENT_RTTVAR = 1,
	DRL_ABSENT_MIN_RTT = 2,
	DRL_ABSENT_COUNTERS = 4,	/* sent, delivered, lost, retransmitted */
	DRL_ABSENT_DELIVERY_RATE = 8,
	DRL_ABSENT_RWND = 16,
	DRL_ABSENT_STATE = 32,
	DRL_ABSENT_CONN_ID = 64,
	DRL_ABSENT_INFLIGHT = 128,
};

/* What became of one action. Values below DRL_RESULT_STALE mean that the window was taken. */
enum drl_action_result {
	DRL_RESULT_APPLIED = 0,
	DRL_RESULT_CLAMPED = 1,		/* applied after clamping to [2 MSS, maximum] */
	DRL_RESULT_STALE = 2,		/* answers a sample from before the last RTO, or older than an action already taken */
	DRL_RESULT_UNKNOWN = 3,		/* no live subflow with this id */
	DRL_RESULT_MALFORMED = 4,	/* wrong abi, zero window, zero or overlong lease, reserved bits set */
};

/* State of one subflow. */
struct drl_subflow_sample {
	uint32_t abi;			/* DRL_ABI_VERSION */
	uint32_t absent;		/* enum drl_absent bits */
	uint64_t conn_id;		/* MPCB or MPTCP token; 0 for plain TCP */
	uint64_t subflow_id;		/* unique in this boot, never 0 */
	uint64_t seq;			/* number of this record's state; an action names the one it answers */
	uint64_t timestamp_us;		/* when the state was taken */
	uint16_t family;		/* AF_INET or AF_INET6 of the datapath's system; 0 in the simulator */
	uint16_t local_port;
	uint16_t foreign_port;
	uint16_t event;			/* enum drl_event */
	uint8_t local_addr[16];		/* IPv4 in the first four bytes */
	uint8_t foreign_addr[16];
	uint32_t mss_bytes;		/* payload bytes of a full segment */
	uint32_t cwnd_bytes;
	uint32_t ssthresh_bytes;	/* UINT32_MAX: not set yet */
	uint32_t inflight_bytes;	/* estimated in the network (RFC 6675 pipe) */
	uint32_t srtt_us;		/* RFC 6298; 0: no sample yet */
	uint32_t rttvar_us;
	uint32_t min_rtt_us;		/* lowest in the datapath's window (Linux: 300 s) */
	uint32_t last_rtt_us;		/* newest sample */
	uint64_t sent_bytes;		/* payload sent, retransmissions included */
	uint64_t delivered_bytes;	/* payload ACKed or SACKed */
	uint64_t lost_bytes;		/* payload marked lost */
	uint64_t retransmitted_bytes;	/* payload sent again */
	uint64_t delivery_rate_bytes_per_s; /* newest rate sample (draft-cheng-iccrg-delivery-rate-estimation) */
	uint32_t rwnd_bytes;		/* peer's window left for new data */
	uint32_t loss_events;		/* entries into fast recovery */
	uint32_t rto_events;		/* retransmission time-outs */
	uint32_t ecn_marks;		/* ACKs that echoed CE */
	uint16_t state;			/* enum drl_state */
	uint16_t flags;			/* enum drl_flag bits */
	uint32_t reserved;		/* 0 */
};

/* A window for one subflow, valid for a lease. */
struct drl_cwnd_action {
	uint32_t abi;			/* DRL_ABI_VERSION */
	uint32_t cwnd_bytes;		/* wanted window; clamped to [2 MSS, maximum] */
	uint64_t subflow_id;
	uint64_t seq;			/* drl_subflow_sample.seq that this answers */
	uint64_t pacing_rate_bytes_per_s; /* 0: the datapath's own rule */
	uint32_t lease_us;		/* from arrival; when it is over the fallback goes on from the present window */
	uint32_t reserved;		/* 0 */
};

/* What a datapath counts for the administrator. */
struct drl_counters {
	uint64_t applied;		/* windows taken as asked */
	uint64_t clamped;
	uint64_t stale;
	uint64_t unknown;
	uint64_t malformed;
	uint64_t expired;		/* leases that ran out: hand-overs to the fallback */
};

#ifndef CCDRL_CFFI
#ifdef __cplusplus
#define CCDRL_STATIC_ASSERT static_assert
#else
#define CCDRL_STATIC_ASSERT _Static_assert
#endif
CCDRL_STATIC_ASSERT(sizeof(struct drl_subflow_sample) == 176, "ABI v2: sample layout");
CCDRL_STATIC_ASSERT(sizeof(struct drl_cwnd_action) == 40, "ABI v2: action layout");
CCDRL_STATIC_ASSERT(sizeof(struct drl_counters) == 48, "ABI v2: counters layout");
#endif

#endif /* CCDRL_H */
