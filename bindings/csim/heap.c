/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Event sources in a four-ary heap ordered by (time, order). A source stands in it at most once, so a pop followed by the
 * source's next time is one sift from the root; four children share a cache line.
 */
#include "internal.h"

static inline bool entry_before(const struct heap_entry *a, const struct heap_entry *b)
{
	if (a->time_ns != b->time_ns)
		return a->time_ns < b->time_ns;
	return (int32_t)(a->order - b->order) < 0;
}

static inline void entry_place(struct ccdrl_sim *sim, uint32_t position, struct heap_entry entry)
{
	sim->heap[position] = entry;
	sim->sources[entry.source].position = position;
}

static void sift_up(struct ccdrl_sim *sim, uint32_t position, struct heap_entry entry)
{
	while (position > 0) {
		uint32_t parent = (position - 1) / 4;

		if (!entry_before(&entry, &sim->heap[parent]))
			break;
		entry_place(sim, position, sim->heap[parent]);
		position = parent;
	}
	entry_place(sim, position, entry);
}

static void sift_down(struct ccdrl_sim *sim, uint32_t position, struct heap_entry entry)
{
	for (;;) {
		uint32_t child = 4 * position + 1, best, last;

		if (child >= sim->heap_n)
			break;
		best = child;
		last = child + 4 < sim->heap_n ? child + 4 : sim->heap_n;
		for (child++; child < last; child++)
			if (entry_before(&sim->heap[child], &sim->heap[best]))
				best = child;
		if (!entry_before(&sim->heap[best], &entry))
			break;
		entry_place(sim, position, sim->heap[best]);
		position = best;
	}
	entry_place(sim, position, entry);
}

static void heap_remove(struct ccdrl_sim *sim, uint32_t source)
{
	uint32_t position = sim->sources[source].position;
	struct heap_entry last;

	sim->sources[source].position = UINT32_MAX;
	last = sim->heap[--sim->heap_n];
	if (position == sim->heap_n)
		return;
	if (position > 0 && entry_before(&last, &sim->heap[(position - 1) / 4]))
		sift_up(sim, position, last);
	else
		sift_down(sim, position, last);
}

void source_set(struct ccdrl_sim *sim, uint32_t source, int64_t time_ns)
{
	uint32_t position = sim->sources[source].position;
	struct heap_entry entry = { time_ns, ++sim->order, source };

	if (position == UINT32_MAX) {
		if (time_ns != TIME_NEVER)
			sift_up(sim, sim->heap_n++, entry);
	} else if (time_ns == TIME_NEVER) {
		heap_remove(sim, source);
	} else if (entry_before(&entry, &sim->heap[position])) {
		sift_up(sim, position, entry);
	} else {
		sift_down(sim, position, entry);
	}
}

uint32_t source_add(struct ccdrl_sim *sim, enum source_kind kind, void *object)
{
	if (sim->n_sources == sim->sources_capacity) {
		uint32_t capacity = sim->sources_capacity ? 2 * sim->sources_capacity : 16;
		struct source *sources = realloc(sim->sources, capacity * sizeof(*sources));
		struct heap_entry *heap;

		if (sources == NULL)
			return UINT32_MAX;
		sim->sources = sources;
		heap = realloc(sim->heap, capacity * sizeof(*heap));	/* a source stands there at most once */
		if (heap == NULL)
			return UINT32_MAX;
		sim->heap = heap;
		sim->sources_capacity = capacity;
	}
	sim->sources[sim->n_sources] = (struct source){ kind, UINT32_MAX, object };
	return sim->n_sources++;
}
