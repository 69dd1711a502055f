/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Slots and their owners. A slot comes back when its socket is released; where the kernel leaves that out (missed.h), a sweep over
 * a few slots at a time finds it, as long as any subflow is at work.
 */
#ifndef CCDRL_SLOTS_H
#define CCDRL_SLOTS_H

#include "ccdrl_bpf.h"
#include "ccdrl_sample.h"
#include "ccdrl_siblings.h"

#define SWEEP_SLOTS 16
#define SWEEP_INTERVAL_US 10000
#define SWEEP_AGE_US (2 * US_PER_S)	/* a record of this age; a socket in its init does not look alive yet */

static __u32 sweep_hand;
static __u64 swept_us;

/* Returns whether the caller is the one to give the slot back. */
static __always_inline bool owner_take(__u32 index, __u64 owner)
{
	__u64 *held = bpf_map_lookup_elem(&ccdrl_owners, &index);

	return held != NULL && __sync_val_compare_and_swap(held, owner, 0) == owner;
}

/* The memory may be another socket's by now, or none: it is read with care, and ids never return. */
static __always_inline bool is_owner_alive(__u64 owner, __u64 id)
{
	const struct inet_connection_sock *icsk = (const struct inet_connection_sock *)owner;
	__u64 found = 0;

	bpf_core_read(&found, sizeof(found), &icsk->icsk_ca_priv);
	return found == id && BPF_CORE_READ_BITFIELD_PROBED(icsk, icsk_ca_initialized);
}

/* Closes the subflow of a slot if its socket is gone. Global, so that the verifier walks it apart. */
__attribute__((noinline)) int slot_check(__u32 index, __u64 now)
{
	struct ccdrl_state_slot *slot = bpf_map_lookup_elem(&ccdrl_states, &index);
	__u64 *held = bpf_map_lookup_elem(&ccdrl_owners, &index), owner;
	struct ccdrl_self self = {};

	if (slot == NULL || held == NULL)
		return 0;
	owner = *(volatile __u64 *)held;
	if (owner == 0 || slot->sample.timestamp_us + SWEEP_AGE_US > now || is_owner_alive(owner, slot->sample.subflow_id) ||
	    !owner_take(index, owner))
		return 0;
	self.id = slot->sample.subflow_id;
	self.token = slot->sample.conn_id;
	connection_leave(&self);
	slot_write_begin(slot);
	slot->sample.seq++;
	slot->sample.timestamp_us = now;
	slot->sample.event = DRL_EVENT_CLOSED;
	slot->sample.flags |= DRL_FLAG_FALLBACK;
	slot->lease_end_us = 0;
	slot_write_end(slot, index);
	bpf_map_push_elem(&ccdrl_slots, &index, BPF_ANY);
	COUNT(closed);
	COUNT(reclaimed);
	return 1;
}

/* Looks at the next few slots, once in SWEEP_INTERVAL_US. Two at once do no harm. */
static __always_inline void slots_sweep(__u64 now)
{
	const struct ccdrl_linux_info *info = info_get();

	if (now < swept_us + SWEEP_INTERVAL_US || info == NULL || info->slots == 0)
		return;
	swept_us = now;
	for (__u32 i = 0; i < SWEEP_SLOTS; i++)
		slot_check(__sync_fetch_and_add(&sweep_hand, 1) % info->slots, now);
}

#endif /* CCDRL_SLOTS_H */
