/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What happens to segments, one by one: a ring that keeps the newest records, for tests and timelines. Off (NULL) unless
 * asked for, so that a simulation pays one predictable branch at each hook.
 */
#include "internal.h"

struct recorder {
	struct ccdrl_record *slots;
	uint64_t capacity, head, tail;	/* [head, tail) are unread; the slot is the number modulo the capacity */
};

int ccdrl_sim_record_enable(struct ccdrl_sim *sim, uint32_t capacity)
{
	struct recorder *recorder = NULL;

	if (capacity > 0) {
		recorder = calloc(1, sizeof(*recorder));
		if (recorder == NULL)
			return CCDRL_ERR_MEMORY;
		recorder->capacity = capacity;
		recorder->slots = malloc(capacity * sizeof(*recorder->slots));
		if (recorder->slots == NULL) {
			free(recorder);
			return CCDRL_ERR_MEMORY;
		}
	}
	record_free(sim);
	sim->recorder = recorder;
	return CCDRL_OK;
}

void record_free(struct ccdrl_sim *sim)
{
	if (sim->recorder == NULL)
		return;
	free(sim->recorder->slots);
	free(sim->recorder);
	sim->recorder = NULL;
}

uint32_t ccdrl_sim_record_read(struct ccdrl_sim *sim, struct ccdrl_record *out, uint32_t capacity)
{
	struct recorder *recorder = sim->recorder;
	uint32_t n = 0;

	if (recorder == NULL)
		return 0;
	while (n < capacity && recorder->head != recorder->tail)
		out[n++] = recorder->slots[recorder->head++ % recorder->capacity];
	return n;
}

void record_add(const struct subflow *sf, enum ccdrl_record_kind kind, uint32_t seq, uint32_t map)
{
	struct recorder *recorder = sf->sim->recorder;

	if (recorder->tail - recorder->head == recorder->capacity)
		recorder->head++;
	recorder->slots[recorder->tail++ % recorder->capacity] = (struct ccdrl_record){
		.time_ns = sf->sim->now_ns, .cwnd_segments = sf->cwnd, .ssthresh_segments = sf->ssthresh, .kind = kind,
		.flow = sf->conn->index, .path = sf->index, .seq = seq, .map = map, .state = sf->state,
	};
}
