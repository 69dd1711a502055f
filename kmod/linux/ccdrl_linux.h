/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the BPF controller `ccdrl` shares with user space, beside the records of ccdrl.h: the layout of the pinned maps.
 *
 *   states    one slot a subflow: the newest record. Written by the kernel alone.
 *   changes   one number a slot that grows with each record: a poll scans these alone (8 bytes a slot, not 256).
 *   controls  one slot a subflow: the newest action. Written by agents; the kernel believes nothing in it.
 *   info      one entry: how the controller was loaded, and what the kernel counted. Written by the kernel alone.
 *   tally     one entry: what agents counted. Read by nobody but people.
 *
 * The loader freezes states, changes and info, so that no process can write them. (File modes do not do it: the kernel
 * maps nothing shared from a read-only descriptor.)
 *
 * Compiled by clang for BPF and parsed by cffi for Python; no other file repeats these layouts.
 */
#ifndef CCDRL_LINUX_H
#define CCDRL_LINUX_H

#ifndef CCDRL_CFFI
#include "ccdrl.h"
#endif

enum ccdrl_linux_limits {
	CCDRL_LINUX_LAYOUT = 2,		/* changes with any struct of this file */
	CCDRL_LINUX_SLOT_BITS = 16,	/* a subflow_id is a generation above its slot */
	CCDRL_LINUX_SLOT_NONE = 65535,	/* the slot of a subflow that got none */
	CCDRL_LINUX_SLOTS_MAX = 65534,
	CCDRL_LINUX_MAGIC = 0x63647231,
	CCDRL_LINUX_CWND_MAX_BYTES = 1 << 30,	/* highest maximum that an administrator may set */
};

/* One subflow as the kernel shows it. The lock is odd while a record is written: read again. */
struct ccdrl_state_slot {
	uint32_t lock;
	uint32_t state_changes;		/* changes of the congestion state since the subflow's creation */
	uint64_t rto_seq;		/* record that the last RTO made: older answers are stale */
	struct drl_subflow_sample sample;
	uint64_t action_seq;		/* of the newest action taken */
	uint64_t lease_end_us;		/* CLOCK_MONOTONIC; 0: none */
	uint32_t cwnd_limited_acks;	/* ACKs that found the window full */
	uint32_t rwnd_limited_acks;	/* ACKs that found the peer's window full */
	uint32_t lost_packets;		/* the kernel's counter at the last record, to sum lost_bytes without overflow */
	uint32_t reserved[9];
};

/* The newest action for one subflow. The version is odd while it is written; the kernel takes each version once. */
struct ccdrl_control_slot {
	uint32_t version;
	uint32_t reserved;
	uint64_t arrival_us;		/* CLOCK_MONOTONIC when it was written; the lease starts here */
	struct drl_cwnd_action action;
	uint64_t padding;
};

/* What the kernel counted since the controller was loaded. */
struct ccdrl_linux_counters {
	uint64_t created;		/* subflows that came, with a slot or without */
	uint64_t closed;
	uint64_t no_slot;		/* came when all slots were in use: in fallback for life */
	uint64_t taken;			/* actions taken */
	uint64_t clamped;		/* of these, with a window or a pacing rate that had to be bounded */
	uint64_t stale;			/* actions refused: from before an RTO, older than one taken, or out of lease on arrival */
	uint64_t malformed;		/* actions refused: see DRL_RESULT_MALFORMED */
	uint64_t generation_mismatch;	/* actions refused: for a subflow that is no longer in the slot */
	uint64_t expired;		/* leases that ran out: hand-overs to the fallback */
	uint64_t timeouts;		/* RTOs; each ends a lease */
	uint64_t reclaimed;		/* of the closed: their sockets were gone, and the kernel had not told */
	uint64_t repaired;		/* windows that no callback of ours had left so (missed.h) */
};

struct ccdrl_linux_info {
	uint32_t magic;			/* CCDRL_LINUX_MAGIC */
	uint32_t abi;			/* DRL_ABI_VERSION */
	uint32_t layout;		/* CCDRL_LINUX_LAYOUT */
	uint32_t slots;
	uint32_t cwnd_max_bytes;	/* highest window, of actions and of the fallback */
	uint32_t reserved;
	uint64_t loaded_us;		/* CLOCK_MONOTONIC; the first generation */
	uint64_t generations;		/* handed out so far */
	uint64_t padding;
	struct ccdrl_linux_counters counters;
};

#ifndef CCDRL_CFFI
CCDRL_STATIC_ASSERT(sizeof(struct ccdrl_state_slot) == 256, "four cache lines");
CCDRL_STATIC_ASSERT(sizeof(struct ccdrl_control_slot) == 64, "one cache line");
CCDRL_STATIC_ASSERT(sizeof(struct ccdrl_linux_info) == 144, "layout 2: info");
#endif

#endif /* CCDRL_LINUX_H */
