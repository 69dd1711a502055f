/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The mapped slots as a datapath. The kernel writes states at any time, other agents may write controls: every record
 * is copied under its slot's sequence lock, and nothing waits. A slot that is busy for too long comes next time.
 */
#define _POSIX_C_SOURCE 200809L
#include "native.h"

#include <string.h>
#include <time.h>

#define READ_TRIES 64
#define SCAN_SLOTS 256
#define PREFETCH_SLOTS 8
#define CACHE_LINE_BYTES 64
#define US_PER_S 1000000ULL

uint64_t ccdrl_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

static uint32_t load_u32(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* What of a slot is not in its sample, copied together with it. */
struct slot_extra {
	uint32_t state_changes, cwnd_limited_acks, rwnd_limited_acks;
	uint64_t rto_seq, lease_end_us;
};

static int slot_copy(const struct ccdrl_state_slot *slot, struct drl_subflow_sample *sample, struct slot_extra *extra)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint32_t lock = load_u32(&slot->lock);

		if (lock & 1)
			continue;
		memcpy(sample, &slot->sample, sizeof(*sample));
		extra->state_changes = slot->state_changes;
		extra->cwnd_limited_acks = slot->cwnd_limited_acks;
		extra->rwnd_limited_acks = slot->rwnd_limited_acks;
		extra->rto_seq = slot->rto_seq;
		extra->lease_end_us = slot->lease_end_us;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&slot->lock, __ATOMIC_RELAXED) == lock)
			return 1;
	}
	return 0;
}

void ccdrl_reader_begin(struct ccdrl_reader *reader)
{
	struct drl_subflow_sample sample;
	struct slot_extra extra;

	for (uint32_t i = 0; i < reader->slots; i++) {
		struct ccdrl_seen *seen = &reader->seen[i];
		uint64_t changes = __atomic_load_n(&reader->maps.changes[i], __ATOMIC_ACQUIRE);

		memset(seen, 0, sizeof(*seen));
		reader->seen_changes[i] = 0;
		if (changes == 0 || !slot_copy(&reader->maps.states[i], &sample, &extra) || sample.event != DRL_EVENT_CLOSED)
			continue;
		reader->seen_changes[i] = changes;
		seen->subflow_id = sample.subflow_id;
	}
	reader->cursor = 0;
}

/* The last word on a subflow whose slot has gone to another one: its own last record is lost, so no figure is given. */
static void closed_fill(const struct ccdrl_seen *seen, struct drl_subflow_sample *out, uint64_t now_us)
{
	memset(out, 0, sizeof(*out));
	out->abi = DRL_ABI_VERSION;
	out->absent = DRL_ABSENT_RTTVAR | DRL_ABSENT_MIN_RTT | DRL_ABSENT_COUNTERS | DRL_ABSENT_DELIVERY_RATE |
	    DRL_ABSENT_RWND | DRL_ABSENT_STATE | DRL_ABSENT_INFLIGHT;
	out->conn_id = seen->conn_id;
	out->subflow_id = seen->subflow_id;
	out->seq = seen->seq + 1;
	out->timestamp_us = now_us;
	out->event = DRL_EVENT_CLOSED;
	out->flags = DRL_FLAG_FALLBACK;
}

/* Makes the kernel's newest record the one that this reader has not seen yet. */
static void record_finish(struct ccdrl_seen *seen, struct drl_subflow_sample *out, const struct slot_extra *extra,
    uint64_t now_us)
{
	int is_new = seen->subflow_id != out->subflow_id;

	if (out->event != DRL_EVENT_CLOSED) {
		out->event = DRL_EVENT_SAMPLE;
		if (is_new)
			out->event = DRL_EVENT_CREATED;
		else if (extra->state_changes != seen->state_changes)
			out->event = DRL_EVENT_STATE;
	}
	if (extra->lease_end_us <= now_us)	/* over since the record, or none */
		out->flags |= DRL_FLAG_FALLBACK;
	if (extra->cwnd_limited_acks != (is_new ? 0 : seen->cwnd_limited_acks))
		out->flags |= DRL_FLAG_CWND_LIMITED;
	if (extra->rwnd_limited_acks != (is_new ? 0 : seen->rwnd_limited_acks))
		out->flags |= DRL_FLAG_RWND_LIMITED;
	seen->subflow_id = out->subflow_id;
	seen->conn_id = out->conn_id;
	seen->seq = out->seq;
	seen->state_changes = extra->state_changes;
	seen->cwnd_limited_acks = extra->cwnd_limited_acks;
	seen->rwnd_limited_acks = extra->rwnd_limited_acks;
	seen->is_open = out->event != DRL_EVENT_CLOSED;
}

/* Fills up to two records of one slot: the end of a subflow that was replaced, the newest record of the present one. */
static uint32_t slot_read(struct ccdrl_reader *reader, uint32_t index, struct drl_subflow_sample *out,
    uint32_t capacity, uint64_t now_us)
{
	uint64_t changes = __atomic_load_n(&reader->maps.changes[index], __ATOMIC_ACQUIRE);
	struct ccdrl_seen *seen = &reader->seen[index];
	struct slot_extra extra;
	uint32_t filled = 0;

	if (!slot_copy(&reader->maps.states[index], out, &extra))
		return 0;
	if (out->subflow_id == 0 || (out->subflow_id == seen->subflow_id && !seen->is_open)) {
		reader->seen_changes[index] = changes;
		return 0;
	}
	if (out->subflow_id != seen->subflow_id && seen->is_open) {
		struct drl_subflow_sample present = *out;

		closed_fill(seen, &out[filled++], now_us);
		seen->is_open = 0;
		if (capacity == 1)
			return filled;
		out[filled] = present;
	}
	record_finish(seen, &out[filled++], &extra, now_us);
	reader->seen_changes[index] = changes;
	return filled;
}

/* Collects the slots of [begin, end) that changed. Which ones did is random: a branch here would be guessed wrong. */
static uint32_t changes_collect(const struct ccdrl_reader *reader, uint32_t begin, uint32_t end, uint32_t *changed)
{
	uint32_t n = 0;

	for (uint32_t i = begin; i < end; i++) {
		changed[n] = i;
		n += __atomic_load_n(&reader->maps.changes[i], __ATOMIC_RELAXED) != reader->seen_changes[i];
	}
	return n;
}

/* States lie scattered over a megabyte, and another core wrote them: ask for one of the next while one is copied. */
static void slot_prefetch(const struct ccdrl_reader *reader, uint32_t index)
{
	const char *state = (const char *)&reader->maps.states[index];

	for (size_t at = 0; at < sizeof(*reader->maps.states); at += CACHE_LINE_BYTES)
		__builtin_prefetch(state + at);
	__builtin_prefetch(&reader->seen[index]);
}

uint32_t ccdrl_reader_read(struct ccdrl_reader *reader, struct drl_subflow_sample *samples, uint32_t capacity)
{
	uint32_t filled = 0, left = reader->slots, index = reader->cursor < reader->slots ? reader->cursor : 0;
	uint64_t now_us = ccdrl_clock_us();

	while (left > 0 && filled < capacity) {
		uint32_t span = reader->slots - index, changed[SCAN_SLOTS], n, i;

		span = span < left ? span : left;
		span = span < SCAN_SLOTS ? span : SCAN_SLOTS;
		n = changes_collect(reader, index, index + span, changed);
		for (i = 0; i < n && filled < capacity; i++) {
			slot_prefetch(reader, changed[i + PREFETCH_SLOTS < n ? i + PREFETCH_SLOTS : i]);
			filled += slot_read(reader, changed[i], &samples[filled], capacity - filled, now_us);
		}
		index = i < n ? changed[i] : index + span;
		index = index < reader->slots ? index : 0;
		left -= span;
	}
	reader->cursor = index;		/* the rest gets its turn first */
	return filled;
}

/* What an action is judged by. */
struct slot_key {
	uint64_t subflow_id, seq, rto_seq;
	uint32_t mss_bytes;
	uint16_t event;
};

static int slot_key_copy(const struct ccdrl_state_slot *slot, struct slot_key *key)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint32_t lock = load_u32(&slot->lock);

		if (lock & 1)
			continue;
		key->subflow_id = slot->sample.subflow_id;
		key->seq = slot->sample.seq;
		key->rto_seq = slot->rto_seq;
		key->mss_bytes = slot->sample.mss_bytes;
		key->event = slot->sample.event;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&slot->lock, __ATOMIC_RELAXED) == lock)
			return 1;
	}
	return 0;
}

static void action_store(struct ccdrl_control_slot *control, const struct drl_cwnd_action *action, uint32_t cwnd_bytes,
    uint64_t now_us)
{
	/* a writer that died in the middle left an odd version */
	uint32_t version = load_u32(&control->version) | 1;

	__atomic_store_n(&control->version, version, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	control->arrival_us = now_us;
	control->action = *action;
	control->action.cwnd_bytes = cwnd_bytes;
	__atomic_store_n(&control->version, version + 1, __ATOMIC_RELEASE);
}

static uint32_t action_index(const struct drl_cwnd_action *action)
{
	return (uint32_t)(action->subflow_id & CCDRL_LINUX_SLOT_NONE);
}

/* What an action is judged by lies in the first lines of its slot; its control is written. */
static void action_prefetch(const struct ccdrl_reader *reader, const struct drl_cwnd_action *action)
{
	uint32_t index = action_index(action);
	const char *state;

	if (index >= reader->slots)
		return;
	state = (const char *)&reader->maps.states[index];
	__builtin_prefetch(state);
	__builtin_prefetch(state + CACHE_LINE_BYTES);
	__builtin_prefetch(&reader->maps.controls[index], 1);
}

static enum drl_action_result action_write(struct ccdrl_reader *reader, const struct drl_cwnd_action *action,
    uint64_t now_us)
{
	uint32_t index = action_index(action), low, high, cwnd;
	struct ccdrl_control_slot *control;
	struct slot_key key;

	if (action->abi != DRL_ABI_VERSION || action->reserved != 0 || action->cwnd_bytes == 0 || action->lease_us == 0 ||
	    action->lease_us > DRL_LEASE_MAX_US)
		return DRL_RESULT_MALFORMED;
	if (action->subflow_id == 0 || index >= reader->slots || !slot_key_copy(&reader->maps.states[index], &key) ||
	    key.subflow_id != action->subflow_id || key.event == DRL_EVENT_CLOSED)
		return DRL_RESULT_UNKNOWN;
	control = &reader->maps.controls[index];
	if (action->seq < key.rto_seq || action->seq > key.seq ||
	    (control->action.subflow_id == action->subflow_id && action->seq < control->action.seq &&
	    control->action.seq <= key.seq))
		return DRL_RESULT_STALE;
	low = DRL_CWND_MIN_SEGMENTS * key.mss_bytes;
	high = reader->maps.info->cwnd_max_bytes;
	if (high < low)
		high = low;
	cwnd = action->cwnd_bytes < low ? low : action->cwnd_bytes > high ? high : action->cwnd_bytes;
	action_store(control, action, cwnd, now_us);
	return cwnd == action->cwnd_bytes ? DRL_RESULT_APPLIED : DRL_RESULT_CLAMPED;
}

static void count(struct drl_counters *counters, enum drl_action_result result)
{
	uint64_t *fields[] = { &counters->applied, &counters->clamped, &counters->stale, &counters->unknown,
		&counters->malformed };

	++*fields[result];
}

void ccdrl_reader_write(struct ccdrl_reader *reader, const struct drl_cwnd_action *actions, uint32_t n,
    int32_t *results)
{
	uint64_t now_us = ccdrl_clock_us();
	struct drl_counters before = reader->counters;

	for (uint32_t i = 0; i < n; i++) {
		enum drl_action_result result;

		action_prefetch(reader, &actions[i + PREFETCH_SLOTS < n ? i + PREFETCH_SLOTS : i]);
		result = action_write(reader, &actions[i], now_us);
		results[i] = result;
		count(&reader->counters, result);
	}
	if (reader->maps.tally == NULL)
		return;
	__atomic_fetch_add(&reader->maps.tally->applied, reader->counters.applied - before.applied, __ATOMIC_RELAXED);
	__atomic_fetch_add(&reader->maps.tally->clamped, reader->counters.clamped - before.clamped, __ATOMIC_RELAXED);
	__atomic_fetch_add(&reader->maps.tally->stale, reader->counters.stale - before.stale, __ATOMIC_RELAXED);
	__atomic_fetch_add(&reader->maps.tally->unknown, reader->counters.unknown - before.unknown, __ATOMIC_RELAXED);
	__atomic_fetch_add(&reader->maps.tally->malformed, reader->counters.malformed - before.malformed, __ATOMIC_RELAXED);
}

struct ccdrl_slot_use ccdrl_slots_count(const struct ccdrl_maps *maps, uint32_t slots)
{
	struct ccdrl_slot_use use = { 0, 0 };
	uint64_t now_us = ccdrl_clock_us();
	struct drl_subflow_sample sample;
	struct slot_extra extra;

	for (uint32_t i = 0; i < slots; i++) {
		if (!slot_copy(&maps->states[i], &sample, &extra) || sample.subflow_id == 0 || sample.event == DRL_EVENT_CLOSED)
			continue;
		use.used++;
		use.in_lease += extra.lease_end_us > now_us;
	}
	return use;
}
